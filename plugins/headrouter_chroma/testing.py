"""Build a small Chroma model for the conformance kit."""

from typing import Any

import headrouter_diffusers.quiet
from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler
from headrouter_diffusers.packing import unpack
from headrouter_diffusers.testing import ready, stock, subject, tiny_autoencoder, tiny_t5, tiny_t5_tokenizer
from torch import Tensor

from headrouter.testing import BackboneSubject, Generation
from headrouter_chroma.parameters import ChromaParameters


def tiny_chroma(seed: int = 0, t5_length: int = 24) -> Any:
    """Return a pipeline with 2 dual and 2 single blocks of 4 heads."""
    headrouter_diffusers.quiet.ignore_own_deprecations()
    transformer = ChromaTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=4,
        joint_attention_dim=32,
        axes_dims_rope=(4, 6, 6),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
    )
    pipeline = ChromaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny_autoencoder(shift_factor=0.1159),
        text_encoder=tiny_t5(),
        tokenizer=tiny_t5_tokenizer(t5_length),
        transformer=transformer,
    )
    return ready(pipeline, seed)


def subjects() -> list[BackboneSubject]:
    """Return the small model, against its stock pipeline."""
    return [subject("chroma", lambda: ChromaParameters().load("tiny", tiny_chroma()), reference)]


def reference(backbone: Any, asked: Generation) -> Tensor:
    """Return the latents that the stock pipeline generates."""
    guidance = {"guidance_scale": asked.guidance, "negative_prompt": asked.negative}
    generated = stock(backbone, asked, max_sequence_length=backbone.parts[0].length, **guidance)
    stride = backbone.latent_stride
    return generated if asked.output == "picture" else unpack(generated, asked.height // stride, asked.width // stride)
