"""Build fresh pipelines of the ordinary diffusers classes, small enough to ship."""

from typing import Final, TypeAlias

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from headrouter.errors import InvalidInputError
from headrouter_shapes.pipelines.autoencoder import LATENT_CHANNELS
from headrouter_shapes.pipelines.tokenizer import PROMPT_TOKENS, build_clip_tokenizer, build_t5_tokenizer
from headrouter_shapes.world.instruction import instruction_words
from headrouter_shapes.world.vocabulary import world_words

ShapesPipeline: TypeAlias = FluxPipeline | FluxKontextPipeline | StableDiffusion3Pipeline

BACKBONES: Final = ("flux", "sd3", "sd3.5")
"""Backbones of captions."""
INSTRUCTED: Final = "flux-kontext"
"""The backbone of instructions: Flux, given the picture behind the new one."""
SHIFT: Final = 3.0
"""Of the noise levels while sampling, as in SD3: σ ← 3σ/(1 + 2σ). Short steps at the end, where the flow bends most, hold
a picture better through inversion and reconstruction; docs/shapes.md has the figures."""
_HEADS: Final = 6
_HEAD_WIDTH: Final = 32
_CLIP_WIDTH: Final = 64
_TEXT_WIDTH: Final = 2 * _CLIP_WIDTH
_LATENT_GRID: Final = 16


def _clip(tokenizer_size: int, kind: type[CLIPTextModel] | type[CLIPTextModelWithProjection]) -> nn.Module:
    config = CLIPTextConfig(
        vocab_size=tokenizer_size,
        hidden_size=_CLIP_WIDTH,
        intermediate_size=4 * _CLIP_WIDTH,
        projection_dim=_CLIP_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=PROMPT_TOKENS,
        bos_token_id=tokenizer_size - 2,
        eos_token_id=tokenizer_size - 1,
        pad_token_id=tokenizer_size - 1,
    )
    encoder: nn.Module = kind(config)
    for embedding in encoder.modules():
        if isinstance(embedding, nn.Embedding):
            nn.init.normal_(embedding.weight, std=0.5)
    return encoder


def _t5(tokenizer_size: int) -> T5EncoderModel:
    config = T5Config(
        vocab_size=tokenizer_size,
        d_model=_TEXT_WIDTH,
        d_kv=32,
        d_ff=2 * _TEXT_WIDTH,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
        dropout_rate=0.0,
    )
    return T5EncoderModel(config)


def _start_as_identity(transformer: nn.Module) -> None:
    """Zero the modulations and the last layer: a fresh transformer predicts zero and its blocks pass through."""
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and (".norm" in name or name.startswith(("norm_out", "proj_out"))):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


def _sd3_transformer(dual_attention: bool) -> SD3Transformer2DModel:
    return SD3Transformer2DModel(
        sample_size=_LATENT_GRID,
        patch_size=2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=6,
        attention_head_dim=_HEAD_WIDTH,
        num_attention_heads=_HEADS,
        caption_projection_dim=_HEADS * _HEAD_WIDTH,
        joint_attention_dim=_TEXT_WIDTH,
        pooled_projection_dim=2 * _CLIP_WIDTH,
        pos_embed_max_size=_LATENT_GRID // 2,
        dual_attention_layers=(0, 1, 2) if dual_attention else (),
        qk_norm="rms_norm" if dual_attention else None,
    )


def _flux_transformer() -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * LATENT_CHANNELS,
        num_layers=4,
        num_single_layers=4,
        attention_head_dim=_HEAD_WIDTH,
        num_attention_heads=_HEADS,
        joint_attention_dim=_TEXT_WIDTH,
        pooled_projection_dim=_CLIP_WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )


def build_pipeline(backbone: str, autoencoder: AutoencoderKL, seed: int = 0) -> ShapesPipeline:
    """Return an untrained pipeline around a trained autoencoder; the same weights for the same seed.

    Args:
        backbone: ``"flux"`` (4 double and 4 single blocks, no embedded guidance: prompts are guided by two calls),
            ``"flux-kontext"`` (the same, with words of instructions beside those of captions),
            ``"sd3"`` (6 joint blocks) or ``"sd3.5"`` (the same with normalised queries and keys, and a second attention
            of the picture to itself in the first three blocks). All have 6 heads of 32 and 64 image tokens.
        autoencoder: shared by the three.
        seed: for the fresh weights.

    Raises:
        InvalidInputError: another name.
    """
    known = (*BACKBONES, INSTRUCTED)
    if backbone not in known:
        raise InvalidInputError(f"`backbone` must be one of {', '.join(known)}; got {backbone!r}.")
    words = instruction_words() if backbone == INSTRUCTED else world_words()
    clip_tokenizer, t5_tokenizer, flux = build_clip_tokenizer(words), build_t5_tokenizer(words), "flux" in backbone
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        t5 = _t5(len(t5_tokenizer))
        if flux:
            transformer: nn.Module = _flux_transformer()
            encoders = [_clip(len(clip_tokenizer), CLIPTextModel)]
        else:
            transformer = _sd3_transformer(dual_attention=backbone == "sd3.5")
            encoders = [_clip(len(clip_tokenizer), CLIPTextModelWithProjection) for _ in range(2)]
    _start_as_identity(transformer)
    if flux:
        return (FluxKontextPipeline if backbone == INSTRUCTED else FluxPipeline)(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
            vae=autoencoder,
            text_encoder=encoders[0],
            tokenizer=clip_tokenizer,
            text_encoder_2=t5,
            tokenizer_2=t5_tokenizer,
            transformer=transformer,
        )
    return StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=autoencoder,
        text_encoder=encoders[0],
        tokenizer=clip_tokenizer,
        text_encoder_2=encoders[1],
        tokenizer_2=build_clip_tokenizer(),
        text_encoder_3=t5,
        tokenizer_3=t5_tokenizer,
        transformer=transformer,
    )
