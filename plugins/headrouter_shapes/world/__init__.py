"""Draw scenes from words in pixels, and read them back with the oracle."""
