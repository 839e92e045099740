"""Define the interface of methods, HeadRouter, and word maps."""
