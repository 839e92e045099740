"""All that must hold of a part, by kind."""

from headrouter.testing.checks import backbone, inversion, method, plugin

__all__ = ["backbone", "inversion", "method", "plugin"]
