"""Define the interface of backbones, and find the weights of models."""
