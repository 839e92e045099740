"""Read masks of the regions that an edit may change."""
