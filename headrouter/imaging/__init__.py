"""Reading, writing and comparing pictures."""
