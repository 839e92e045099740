"""The editor: one picture, its result, its record, and kept inversions."""
