"""Prompts, their words, and where words stand among tokens."""
