"""A drawn world with known answers, an oracle that reads its pictures, and small real pipelines trained on it.

Importing this package loads neither torch nor diffusers, numpy or Pillow.
"""

from headrouter_shapes.weights import model_path

__all__ = ["model_path"]
