"""Read, write and compare pictures."""
