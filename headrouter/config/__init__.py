"""Define parameters of parts, YAML with places, steps and fractions."""
