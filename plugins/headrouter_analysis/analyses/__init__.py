"""What is found out by many runs: which blocks and heads matter, and whether that helps an edit."""
