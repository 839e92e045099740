"""Find, load and share the networks that metrics measure by."""
