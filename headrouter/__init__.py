"""Text-guided editing of real images on multimodal diffusion transformers, without training, by steering joint attention."""

__version__ = "0.1.0"
