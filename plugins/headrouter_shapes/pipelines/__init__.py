"""Small pipelines of the ordinary diffusers classes: built, kept in folders, and run with gradients."""
