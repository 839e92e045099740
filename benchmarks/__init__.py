"""Measure the cost of steering, as ratios measured side by side in one process; see ``docs/benchmarks.md``."""
