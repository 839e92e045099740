"""Build a small Ovis-Image model for the conformance kit."""

from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import FlowMatchEulerDiscreteScheduler, OvisImagePipeline, OvisImageTransformer2DModel
from headrouter_diffusers.packing import unpack
from headrouter_diffusers.testing import CHAT, byte_tokenizer, ready, stock, subject, tiny_autoencoder, tiny_qwen3
from torch import Tensor

from headrouter.testing import BackboneSubject, Generation
from headrouter_ovis_image.parameters import OvisImageParameters


def tiny_ovis_image(seed: int = 0) -> Any:
    """Return a pipeline with 2 dual and 2 single blocks of 4 heads; one token for each byte."""
    tokenizer = byte_tokenizer(chat_template=CHAT)
    pipeline = OvisImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=tiny_autoencoder(shift_factor=0.1159),
        text_encoder=tiny_qwen3(tokenizer).model,
        tokenizer=tokenizer,
        transformer=OvisImageTransformer2DModel(
            in_channels=16,
            out_channels=16,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=4,
            joint_attention_dim=32,
            axes_dims_rope=(4, 6, 6),
        ),
    )
    pipeline.system_prompt = "Describe: "
    pipeline.user_prompt_begin_id = len(tokenizer("<|im_start|>user\nDescribe:")["input_ids"])
    return ready(pipeline, seed)


def reference(backbone: Any, asked: Generation) -> Tensor:
    """Return the latents, or the picture, that the stock pipeline generates."""
    length = backbone.parameters.max_sequence_length
    guidance = {"guidance_scale": asked.guidance, "negative_prompt": asked.negative}
    generated = stock(backbone, asked, max_sequence_length=length, **guidance)
    if asked.output == "picture":
        return generated
    factor = backbone.pipeline.vae_scale_factor
    return unpack(generated, asked.height // factor, asked.width // factor)


def subjects() -> list[BackboneSubject]:
    """Return the small model, against its stock pipeline."""
    parameters = OvisImageParameters(max_sequence_length=64)
    return [subject("ovis-image", lambda: parameters.load("tiny", tiny_ovis_image()), reference)]
