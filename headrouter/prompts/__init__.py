"""Represent prompts, their words, and the positions of words among tokens."""
