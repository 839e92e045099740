"""Provide methods that record attention, and methods that drop, swap or weigh its heads."""
