"""Encode prompts as the pipelines do, but with gradients, and give the velocity one signature.

The pipelines' own ``encode_prompt`` tokenizes twice to warn of truncation and takes no tokens. A test holds the two
equal.
"""

import dataclasses
from collections.abc import Sequence

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import StableDiffusion3Pipeline
from headrouter_diffusers.packing import pack, positions, unpack
from jaxtyping import Float, Int
from torch.nn import functional

from headrouter_shapes.pipelines.build import ShapesPipeline
from headrouter_shapes.pipelines.tokenizer import PROMPT_TOKENS


@dataclasses.dataclass(frozen=True, slots=True)
class Prompts:
    """Holds encoded prompts: ``hidden`` [B, T, C] for joint attention, ``pooled`` [B, P] for modulation."""

    hidden: Float[torch.Tensor, "b t c"]
    pooled: Float[torch.Tensor, "b p"]


def tokenize(
    pipeline: ShapesPipeline, prompts: Sequence[str]
) -> tuple[Int[torch.Tensor, "b t"], Int[torch.Tensor, "b t"]]:
    """Return the padded CLIP and T5 tokens of prompts, each int64 [B, PROMPT_TOKENS]."""
    t5_tokenizer = pipeline.tokenizer_3 if isinstance(pipeline, StableDiffusion3Pipeline) else pipeline.tokenizer_2
    clip, t5 = (
        tokenizer(
            list(prompts), padding="max_length", max_length=PROMPT_TOKENS, truncation=True, return_tensors="pt"
        ).input_ids
        for tokenizer in (pipeline.tokenizer, t5_tokenizer)
    )
    return clip, t5


def encode_tokens(pipeline: ShapesPipeline, clip: Int[torch.Tensor, "b t"], t5: Int[torch.Tensor, "b t"]) -> Prompts:
    """Encode tokens as the pipeline's ``encode_prompt`` does: padding is not masked."""
    if not isinstance(pipeline, StableDiffusion3Pipeline):
        return Prompts(pipeline.text_encoder_2(t5)[0], pipeline.text_encoder(clip).pooler_output)
    outputs = [encoder(clip, output_hidden_states=True) for encoder in (pipeline.text_encoder, pipeline.text_encoder_2)]
    beside = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    words = pipeline.text_encoder_3(t5)[0]
    beside = functional.pad(beside, (0, words.shape[-1] - beside.shape[-1]))
    return Prompts(
        torch.cat([beside, words.to(beside.dtype)], dim=-2), torch.cat([output[0] for output in outputs], dim=-1)
    )


def encode_prompts(pipeline: ShapesPipeline, prompts: Sequence[str]) -> Prompts:
    """Encode prompts of any wording; the empty one is what classifier-free guidance compares with."""
    device = pipeline.transformer.device
    clip, t5 = tokenize(pipeline, prompts)
    return encode_tokens(pipeline, clip.to(device), t5.to(device))


def velocity(
    pipeline: ShapesPipeline,
    latents: Float[torch.Tensor, "b c h w"],
    sigma: Float[torch.Tensor, " b"],
    prompts: Prompts,
    reference: Float[torch.Tensor, "b c h w"] | None = None,
) -> Float[torch.Tensor, "b c h w"]:
    """Return dx/dσ at scaled latents [B, 16, h, w] and noise level σ in [0, 1].

    ``reference`` holds the scaled latents of the picture that an instruction is about, for ``flux-kontext``.
    """
    transformer = pipeline.transformer
    if isinstance(pipeline, StableDiffusion3Pipeline):
        predicted: torch.Tensor = transformer(
            hidden_states=latents,
            timestep=1000.0 * sigma,
            encoder_hidden_states=prompts.hidden,
            pooled_projections=prompts.pooled,
            return_dict=False,
        )[0]
        return predicted
    height, width = latents.shape[-2:]
    pictures = [latents] if reference is None else [latents, reference]
    packed = transformer(
        hidden_states=pack(*pictures),
        timestep=sigma,
        encoder_hidden_states=prompts.hidden,
        pooled_projections=prompts.pooled,
        img_ids=torch.cat([positions(height, width, latents, number) for number in range(len(pictures))]),
        txt_ids=latents.new_zeros(prompts.hidden.shape[1], 3),
        return_dict=False,
    )[0]
    return unpack(packed[:, : height * width // 4], height, width)
