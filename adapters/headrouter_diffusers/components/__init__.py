"""The components of a pipeline: found in folders, single files or on the hub, checked for being whole and fit, and placed."""
