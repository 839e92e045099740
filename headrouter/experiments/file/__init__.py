"""Read an experiment from a YAML file."""
