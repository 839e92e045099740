"""Find the components of a pipeline in folders, single files or on the hub, check them, and place them."""
