"""Collect the checks of each kind of part."""

from headrouter.testing.checks import backbone, inversion, method, plugin

__all__ = ["backbone", "inversion", "method", "plugin"]
