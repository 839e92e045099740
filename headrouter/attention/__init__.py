"""Describe one attention event, its token layout, the rows it belongs to, and the kernels."""
