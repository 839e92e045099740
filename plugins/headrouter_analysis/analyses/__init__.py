"""Analyse blocks and heads over many runs: which matter, and whether that helps an edit."""
