"""The interface of methods, HeadRouter, and word maps."""
