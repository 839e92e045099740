"""Compare compositions of parts over a data set, from one YAML file: see docs/experiments.md."""
