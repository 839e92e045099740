"""Build tiny pipelines of diffusers' real classes with random weights, offline in a fraction of a second.

Real tokenizers with one token per character and a few words, text encoders of one or two layers, an autoencoder that
shrinks a picture 4 times, 4 heads, patches of 2×2 latents: a picture of 48 × 32 pixels has 4 × 6 image tokens. The
weights are scaled so that every head, every text token, the time and the pooled prompt change the output.
"""

import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from torch.nn import Module, functional
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from headrouter.models.backbone import Backbone
from headrouter.testing import BackboneSubject, Generation, Reference
from headrouter_diffusers import autoencoder

CHAT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
"""Template of a conversation, for ``byte_tokenizer(chat_template=CHAT)``."""

_CLIP_WIDTH, _T5_WIDTH, _HEADS, _HEAD_WIDTH = 16, 32, 4, 16
_WORDS = ("a", "cat", "dog", "red", "photo", "of", "the")


def tiny_flux(guidance_embeds: bool = True, *, seed: int = 0, t5_length: int = 24) -> Any:
    """Return a Flux pipeline with 2 dual and 2 single blocks, with embedded guidance (dev) or without (schnell)."""
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=_HEAD_WIDTH,
        num_attention_heads=_HEADS,
        joint_attention_dim=_T5_WIDTH,
        pooled_projection_dim=_CLIP_WIDTH,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        shift=3.0 if guidance_embeds else 1.0, use_dynamic_shifting=guidance_embeds
    )
    pipeline = FluxPipeline(
        scheduler=scheduler,
        vae=tiny_autoencoder(shift_factor=0.1159),
        text_encoder=CLIPTextModel(_clip_config()),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=tiny_t5(),
        tokenizer_2=tiny_t5_tokenizer(t5_length),
        transformer=transformer,
    )
    return ready(pipeline, seed)


def tiny_sd3(*, seed: int = 0, t5: bool = True, t5_length: int = 24, **transformer: Any) -> Any:
    """Return a Stable Diffusion 3 pipeline with 3 blocks, with or without T5. ``transformer`` changes its configuration."""
    configuration: dict[str, Any] = {
        "sample_size": 16,
        "patch_size": 2,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 3,
        "attention_head_dim": _HEAD_WIDTH,
        "num_attention_heads": _HEADS,
        "joint_attention_dim": _T5_WIDTH,
        "caption_projection_dim": _HEADS * _HEAD_WIDTH,
        "pooled_projection_dim": 2 * _CLIP_WIDTH,
        "pos_embed_max_size": 12,
    }
    pipeline = StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny_autoencoder(shift_factor=0.0609),
        text_encoder=CLIPTextModelWithProjection(_clip_config()),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(_clip_config(hidden_act="gelu")),
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=tiny_t5() if t5 else None,
        tokenizer_3=tiny_t5_tokenizer(t5_length) if t5 else None,
        transformer=SD3Transformer2DModel(**{**configuration, **transformer}),
    )
    return ready(pipeline, seed)


def tiny_sd35(dual: bool = True, *, seed: int = 0, **others: Any) -> Any:
    """Return a Stable Diffusion 3.5 pipeline; ``dual`` as medium, with image-only attention in 2 blocks, else as large."""
    return tiny_sd3(seed=seed, qk_norm="rms_norm", dual_attention_layers=(0, 1) if dual else (), **others)


def subject(name: str, build: Callable[[], Backbone], reference: Reference) -> BackboneSubject:
    """Return a backbone over a diffusers pipeline for the conformance kit, with its autoencoder's stand-in.

    Args:
        name: For tables.
        build: Gives a fresh backbone, always with the same weights.
        reference: Output of the stock pipeline, by :func:`stock`.
    """
    return BackboneSubject(name, build, reference, pictures=True, stand_in=invertible_autoencoder)


def stock(backbone: Any, asked: Generation, **arguments: Any) -> Tensor:
    """Return what the pipeline of ``backbone`` itself generates: latents, as the pipeline shapes them, or the picture in [0, 1].

    ``arguments`` are the pipeline's own and come before what is asked: ``prompt=None, prompt_embeds=...`` for embedded prompts.
    """
    asks = {"prompt": asked.prompt, "width": asked.width, "height": asked.height, "num_inference_steps": asked.steps}
    output = "pt" if asked.output == "picture" else "latent"
    how = {"generator": torch.Generator().manual_seed(asked.seed), "output_type": output, **arguments}
    return backbone.pipeline(**{**asks, **how}).images  # type: ignore[no-any-return]


def stock_latents(backbone: Any, asked: Generation, **arguments: Any) -> Tensor:
    """Return the latents that the pipeline of ``backbone`` itself generates; :func:`stock` gives pictures, too."""
    return stock(backbone, replace(asked, output="latents"), **arguments)


@contextmanager
def invertible_autoencoder(backbone: Any) -> Iterator[None]:
    """Replace a pipeline's autoencoder by one that loses nothing, with latents stored in the picture's pixels.

    Latents and pictures keep their shapes; a latent of more channels than its pixels have numbers does not fit.
    """
    vae, stride = backbone.pipeline.vae, int(backbone.pipeline.vae_scale_factor)
    channels, pixels = autoencoder.channels(vae), 3 * stride**2
    assert channels <= pixels, f"{channels} channels do not fit into {pixels} numbers"

    def encode(pictures: Tensor) -> Any:
        frames = pictures.squeeze(2) if pictures.ndim == 5 else pictures  # a film of one frame
        raw = functional.pixel_unshuffle(frames, stride)[:, :channels]
        mode = raw.unsqueeze(2) if pictures.ndim == 5 else raw
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: mode, sample=lambda *_: mode + 1))

    def decode(raw: Tensor, return_dict: bool = True) -> Any:
        frames = raw.squeeze(2) if raw.ndim == 5 else raw
        filled = torch.cat([frames, frames.new_zeros(len(frames), pixels - channels, *frames.shape[2:])], dim=1)
        shuffled = functional.pixel_shuffle(filled, stride)
        pictures = shuffled.unsqueeze(2) if raw.ndim == 5 else shuffled
        return SimpleNamespace(sample=pictures) if return_dict else (pictures,)

    vae.encode, vae.decode = encode, decode
    try:
        yield
    finally:
        del vae.encode, vae.decode


def tiny_autoencoder(shift_factor: float | None, channels: int = 4) -> AutoencoderKL:
    """Return an autoencoder of so many channels that shrinks a picture 4 times."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(4, 8, 8),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=2,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=shift_factor,
        scaling_factor=1.5,
    )


def tiny_film_autoencoder() -> AutoencoderKLQwenImage:
    """Return an autoencoder of films of 4 channels, each with a mean and a deviation, that shrinks a picture 4 times."""
    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[-0.75, 0.3, 0.11, 0.9],
        latents_std=[2.8, 1.4, 0.6, 1.7],
    )


def _clip_config(hidden_act: str = "quick_gelu") -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(_clip_vocabulary()),
        bos_token_id=len(_clip_vocabulary()) - 2,
        eos_token_id=len(_clip_vocabulary()) - 1,
        pad_token_id=len(_clip_vocabulary()) - 1,
        hidden_size=_CLIP_WIDTH,
        projection_dim=_CLIP_WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_act=hidden_act,
    )


def _clip_vocabulary() -> list[str]:
    letters = sorted(ByteLevel.alphabet())
    return [*letters, *(f"{letter}</w>" for letter in letters), "ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"]


def _clip_tokenizer() -> CLIPTokenizer:
    vocabulary = {token: index for index, token in enumerate(_clip_vocabulary())}
    return CLIPTokenizer(vocab=vocabulary, merges=[("c", "a"), ("ca", "t</w>")], model_max_length=77)


def _t5_vocabulary() -> list[tuple[str, float]]:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    words = [(f"▁{word}", -1.0) for word in _WORDS]
    return [*special, *words, *((letter, -3.0) for letter in string.ascii_letters + string.digits + ".,!?'-")]


def tiny_t5_tokenizer(length: int) -> T5Tokenizer:
    """Return a tokenizer with one token for each of a few words, and one for each other letter."""
    return T5Tokenizer(vocab=_t5_vocabulary(), extra_ids=0, model_max_length=length)


def tiny_t5() -> T5EncoderModel:
    """Return a T5 encoder of one layer and 32 channels."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(_t5_vocabulary()),
            d_model=_T5_WIDTH,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
        )
    )


def byte_tokenizer(**options: str) -> Qwen2Tokenizer:
    """Return a tokenizer with one token for each byte, but for the word "cat", and special tokens of a conversation."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: number for number, token in enumerate([*sorted(ByteLevel.alphabet()), "ca", "cat", *special])}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[("c", "a"), ("ca", "t")], model_max_length=1024, **options)
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    return tokenizer


def tiny_qwen3(tokenizer: Any, layers: int = 1) -> Qwen3ForCausalLM:
    """Return a Qwen3 language model of 32 channels for the words of a tokenizer."""
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=layers,
            max_window_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=16,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def ready(pipeline: Any, seed: int) -> Any:
    """Draw all weights of a pipeline from ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    for component in pipeline.components.values():
        if isinstance(component, Module):
            _randomise(component.eval().requires_grad_(False), generator)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _randomise(model: Module, generator: torch.Generator) -> None:
    """Draw all parameters so that signals keep about their size from layer to layer."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32, device="cpu")
            if parameter.ndim == 1:
                parameter.copy_(1 + 0.1 * noise if name.endswith("weight") else 0.1 * noise)
            elif "embedding" in name or "shared" in name:
                parameter.copy_(noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
