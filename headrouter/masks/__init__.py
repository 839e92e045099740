"""Where an edit may act."""
