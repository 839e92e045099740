"""The drawn world: scenes in words and in pixels, and the oracle that reads them back."""
