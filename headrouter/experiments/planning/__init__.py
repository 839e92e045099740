"""Plan an experiment before it runs: cells, model calls, time, and all that is missing."""
