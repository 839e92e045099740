"""The interface of backbones, and where the weights of models are."""
