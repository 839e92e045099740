"""Show published figures beside our own, each with its source and its protocol: see docs/reproduction.md."""
