"""Build a small Qwen-Image model for the conformance kit."""

from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from headrouter_diffusers.packing import unpack
from headrouter_diffusers.testing import byte_tokenizer, ready, stock, subject, tiny_film_autoencoder
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from headrouter.testing import BackboneSubject, Generation
from headrouter_qwen_image.parameters import QwenImageParameters


def tiny_qwen_image(seed: int = 0) -> Any:
    """Return a pipeline with 2 blocks of 4 heads; one token for each byte."""
    tokenizer = byte_tokenizer()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_parameters": {"type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6},
        "bos_token_id": None,
        "eos_token_id": len(tokenizer) - 3,
        "pad_token_id": len(tokenizer) - 3,
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [0],
    }
    pipeline = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=1.0, shift_terminal=0.02),
        vae=tiny_film_autoencoder(),
        text_encoder=Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)),
        tokenizer=tokenizer,
        transformer=QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=4,
            joint_attention_dim=32,
            axes_dims_rope=(4, 6, 6),
        ),
    )
    before = "<|im_start|>user\n"
    pipeline.prompt_template_encode = before + "{}<|im_end|>\n<|im_start|>assistant\n"
    pipeline.prompt_template_encode_start_idx = len(tokenizer(before)["input_ids"])
    return ready(pipeline, seed)


def reference(backbone: Any, asked: Generation) -> Tensor:
    """Return the latents, or the picture, that the stock pipeline generates."""
    guidance = {"true_cfg_scale": asked.guidance, "negative_prompt": asked.negative if asked.guidance > 1 else None}
    generated = stock(backbone, asked, max_sequence_length=backbone.parameters.max_sequence_length, **guidance)
    if asked.output == "picture":
        return generated
    factor = backbone.pipeline.vae_scale_factor
    return unpack(generated, asked.height // factor, asked.width // factor)


def subjects() -> list[BackboneSubject]:
    """Return the small model, against its stock pipeline."""
    parameters = QwenImageParameters(max_sequence_length=64)
    return [subject("qwen-image", lambda: parameters.load("tiny", tiny_qwen_image()), reference)]
