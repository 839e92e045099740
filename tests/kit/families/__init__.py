"""Adapters of model families that headrouter does not ship, written as the tutorial says, on tiny models of random weights."""
