"""Build small pipelines of the ordinary diffusers classes, keep them in folders, and run them with gradients."""
