"""Make the edits of a unit of work with a loaded model."""
