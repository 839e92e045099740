"""Drive a run with the engine, and define the interface of inversions."""
