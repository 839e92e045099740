"""Build a small Z-Image model for the conformance kit."""

from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from headrouter_diffusers.testing import CHAT, byte_tokenizer, ready, stock, subject, tiny_autoencoder, tiny_qwen3
from torch import Tensor

from headrouter.testing import BackboneSubject, Generation
from headrouter_z_image.parameters import ZImageParameters


def tiny_z_image(seed: int = 0) -> Any:
    """Return a pipeline with 3 blocks of 4 heads behind refiners of one block each; one token for each byte."""
    tokenizer = byte_tokenizer(chat_template=CHAT)
    pipeline = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0),
        vae=tiny_autoencoder(shift_factor=0.1159),
        text_encoder=tiny_qwen3(tokenizer, layers=2),
        tokenizer=tokenizer,
        transformer=ZImageTransformer2DModel(
            in_channels=4,
            dim=64,
            n_layers=3,
            n_refiner_layers=1,
            n_heads=4,
            n_kv_heads=4,
            cap_feat_dim=32,
            axes_dims=[4, 6, 6],
            axes_lens=[256, 64, 64],
        ),
    )
    return ready(pipeline, seed)


def reference(backbone: Any, asked: Generation) -> Tensor:
    """Return the latents, or the picture, that the stock pipeline generates."""
    parameters = backbone.parameters
    return stock(
        backbone,
        asked,
        guidance_scale=asked.guidance - 1,
        negative_prompt=asked.negative,
        cfg_normalization=parameters.cfg_normalization,
        max_sequence_length=parameters.max_sequence_length,
    )


def subjects() -> list[BackboneSubject]:
    """Return the small model, against its stock pipeline."""
    parameters = ZImageParameters(max_sequence_length=96)
    return [subject("z-image", lambda: parameters.load("tiny", tiny_z_image()), reference)]
