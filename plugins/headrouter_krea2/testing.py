"""Build small Krea 2 models for the conformance kit."""

from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import FlowMatchEulerDiscreteScheduler, Krea2Pipeline, Krea2Transformer2DModel
from headrouter_diffusers.packing import unpack
from headrouter_diffusers.testing import byte_tokenizer, ready, stock, subject, tiny_film_autoencoder
from torch import Tensor
from transformers import Qwen3VLConfig, Qwen3VLModel

from headrouter.testing import BackboneSubject, Generation
from headrouter_krea2.parameters import Krea2Parameters

_WIDTH = 32


def tiny_krea2(distilled: bool = False, *, seed: int = 0) -> Any:
    """Return a pipeline with 3 single blocks of 4 heads, which read 2 layers of its text encoder; one token for each byte."""
    tokenizer = byte_tokenizer()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": _WIDTH,
        "intermediate_size": _WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "rope_parameters": {"rope_type": "default", "mrope_section": [3, 3, 2], "rope_theta": 1e6},
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": _WIDTH,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
    }
    pipeline = Krea2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, max_shift=1.15, max_image_seq_len=6400),
        vae=tiny_film_autoencoder(),
        text_encoder=Qwen3VLModel(Qwen3VLConfig(text_config=text, vision_config=vision)),
        tokenizer=tokenizer,
        transformer=Krea2Transformer2DModel(
            in_channels=16,
            num_layers=3,
            attention_head_dim=16,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=64,
            timestep_embed_dim=16,
            text_hidden_dim=_WIDTH,
            num_text_layers=2,
            text_num_attention_heads=2,
            text_num_key_value_heads=2,
            text_intermediate_size=_WIDTH,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=(4, 6, 6),
        ),
        text_encoder_select_layers=(1, 2),
        is_distilled=distilled,
    )
    before = "<|im_start|>user\n"
    pipeline.prompt_template_encode_prefix = before
    pipeline.prompt_template_encode_start_idx = len(tokenizer(before)["input_ids"])
    pipeline.prompt_template_encode_suffix = "<|im_end|>ok"
    pipeline.prompt_template_encode_num_suffix_tokens = 3
    return ready(pipeline, seed)


def subjects() -> list[BackboneSubject]:
    """Return a small model and a distilled one, which differ in their time grid."""
    parameters = Krea2Parameters(max_sequence_length=48)
    return [
        subject("krea2", lambda: parameters.load("tiny", tiny_krea2()), reference),
        subject("krea2-turbo", lambda: parameters.load("tiny", tiny_krea2(distilled=True)), reference),
    ]


def reference(backbone: Any, asked: Generation) -> Tensor:
    """Return the latents that the stock pipeline generates, whose scale of guidance begins at 0."""
    guidance = {"guidance_scale": asked.guidance - 1, "negative_prompt": asked.negative}
    generated = stock(backbone, asked, max_sequence_length=backbone.parameters.max_sequence_length, **guidance)
    stride = backbone.latent_stride
    return generated if asked.output == "picture" else unpack(generated, asked.height // stride, asked.width // stride)
