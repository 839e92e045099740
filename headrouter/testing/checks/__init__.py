"""Collect the checks of each kind of part."""

from headrouter.testing.checks import backbone, dataset, inversion, mask, method, metric, operator, plugin

__all__ = ["backbone", "dataset", "inversion", "mask", "method", "metric", "operator", "plugin"]
