"""Implement HeadRouter: routing attention heads and refining tokens, arXiv:2411.15034."""
