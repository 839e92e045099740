"""Parameters of parts, YAML with places, steps and fractions."""
