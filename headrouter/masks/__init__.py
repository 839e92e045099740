"""Say where an edit may act, by masks: the user's, from words, attention, velocities or a segmentation, and combined."""
