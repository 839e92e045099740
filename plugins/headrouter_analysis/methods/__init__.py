"""Methods that record what attention does, and methods that drop, swap or weigh its heads."""
