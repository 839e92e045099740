"""Small random pipelines of the real classes, as folders."""

from pathlib import Path
from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    QwenImageEditPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from headrouter_diffusers.testing import byte_tokenizer, ready, tiny_autoencoder, tiny_flux
from headrouter_qwen_image.testing import tiny_qwen_image
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor, Qwen2VLImageProcessorPil


def _unet(channels: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(8, 8, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def _stable_diffusion(kind: Any, channels: int, scheduler: Any) -> Any:
    flux = tiny_flux()
    pipeline = kind(
        vae=tiny_autoencoder(shift_factor=None),
        text_encoder=flux.text_encoder,
        tokenizer=flux.tokenizer,
        unet=_unet(channels),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return ready(pipeline, 0)


def instruct_pix2pix() -> Any:
    return _stable_diffusion(StableDiffusionInstructPix2PixPipeline, 8, EulerAncestralDiscreteScheduler(steps_offset=1))


def stable_diffusion() -> Any:
    scheduler = DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", solver_order=2, steps_offset=1)
    return _stable_diffusion(StableDiffusionPipeline, 4, scheduler)


def qwen_image_edit() -> Any:
    """Its processor is put together by hand, since its class makes a reader of films too, which needs torchvision."""
    plain = tiny_qwen_image()
    tokenizer, config = byte_tokenizer(), plain.text_encoder.config
    tokenizer.add_tokens(["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"], special_tokens=True)
    config.text_config.vocab_size = len(tokenizer)
    for name in ("vision_start", "vision_end", "image", "video"):
        token = f"<|{name}|>" if name.startswith("vision") else f"<|{name}_pad|>"
        setattr(config, f"{name}_token_id", tokenizer.convert_tokens_to_ids(token))
    processor = object.__new__(Qwen2_5_VLProcessor)
    processor.tokenizer, processor.video_processor, processor.chat_template = tokenizer, None, None
    size = {"shortest_edge": 56**2, "longest_edge": 56**2}
    processor.image_processor = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size=size)
    for name in ("image", "video"):
        setattr(processor, f"{name}_token", f"<|{name}_pad|>")
        setattr(processor, f"{name}_token_id", getattr(config, f"{name}_token_id"))
    parts = {**plain.components, "text_encoder": Qwen2_5_VLForConditionalGeneration(config), "tokenizer": tokenizer}
    return ready(QwenImageEditPipeline(**parts, processor=processor), 0)


def folder(pipeline: Any, where: Path) -> Path:
    pipeline.save_pretrained(where)
    return where
