"""The engine that drives a run, and the interface of inversions."""
