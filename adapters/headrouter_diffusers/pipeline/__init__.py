"""Implement the common part of backbones that drive a diffusers pipeline.

A subclass declares where its transformer attends, which text encoders feed it, how a latent becomes tokens, which time
grid suits it and how it is called. ``help(DiffusersBackbone)`` shows what there is to declare.
"""

from headrouter_diffusers.pipeline.backbone import DiffusersBackbone

__all__ = ["DiffusersBackbone"]
