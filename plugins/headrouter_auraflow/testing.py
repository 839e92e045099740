"""Build a small AuraFlow model for the conformance kit."""

from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel, FlowMatchEulerDiscreteScheduler
from headrouter_diffusers.testing import ready, stock, subject, tiny_autoencoder, tiny_t5, tiny_t5_tokenizer

from headrouter.testing import BackboneSubject
from headrouter_auraflow.parameters import AuraFlowParameters


def tiny_auraflow(seed: int = 0) -> Any:
    """Return a pipeline with 2 dual and 2 single blocks of 4 heads, for pictures up to 96 × 96."""
    transformer = AuraFlowTransformer2DModel(
        sample_size=16,
        num_mmdit_layers=2,
        num_single_dit_layers=2,
        attention_head_dim=16,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=64,
        pos_embed_max_size=144,
    )
    pipeline = AuraFlowPipeline(
        tokenizer=tiny_t5_tokenizer(256),
        text_encoder=tiny_t5(),
        vae=tiny_autoencoder(shift_factor=None),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73),
    )
    return ready(pipeline, seed)


def subjects() -> list[BackboneSubject]:
    """Return the small model, against its stock pipeline."""
    return [
        subject(
            "auraflow",
            lambda: AuraFlowParameters().load("tiny", tiny_auraflow()),
            lambda backbone, asked: stock(
                backbone, asked, guidance_scale=asked.guidance, negative_prompt=asked.negative
            ),
        )
    ]
