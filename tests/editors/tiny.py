"""Small random pipelines of the real classes, as folders."""

from pathlib import Path
from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from headrouter_diffusers.testing import ready, tiny_autoencoder, tiny_flux


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


def folder(pipeline: Any, where: Path) -> Path:
    pipeline.save_pretrained(where)
    return where
