"""Triton kernels that compute in one pass each what the plain functions of this package do."""
