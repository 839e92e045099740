"""Chroma: a mask over text tokens of T5, true classifier-free guidance, single blocks that take text and image joined."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
import numpy
import torch
from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.chroma.pipeline_chroma import calculate_shift
from headrouter_diffusers.parameters import NeededT5
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.t5 import T5Parameters
from headrouter_diffusers.testing import ready, stock, subject, tiny_autoencoder, tiny_t5, tiny_t5_tokenizer
from headrouter_diffusers.text_parts import TextPart
from torch import Tensor

from headrouter.attention.rows import BatchRow
from headrouter.models.backbone import Backbone, Defaults


class ChromaParameters(T5Parameters):
    """How to load Chroma.

    Attributes:
        t5: Always true: Chroma reads its prompts through T5 alone.
    """

    t5: NeededT5 = True

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model."""
        return ChromaBackbone.load(self, source, pipeline, defaults)


class ChromaBackbone(DiffusersBackbone):
    """A Chroma pipeline."""

    parameters: ChromaParameters
    family = "chroma"
    kind = ChromaPipeline
    large = ("transformer", "text_encoder")
    rules = (
        SiteRule("transformer_blocks.*.attn", "dual"),
        SiteRule("single_transformer_blocks.*.attn", "single", text="hidden_states", joined=True),
    )
    text_first = True
    packs_latents = True
    packed = 4
    patch = 2
    guided = True
    text_axes = {"prompt_embeds": (1,), "mask": (1,)}  # noqa: RUF012

    def own_defaults(self) -> Defaults:
        return Defaults(35, 5.0, 1024 * 1024)

    def text_parts(self) -> Sequence[TextPart]:
        return (self.parameters.part(self.pipeline.tokenizer, 0, 512),)

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        embeds, _, mask, *_ = self.pipeline.encode_prompt(
            text, do_classifier_free_guidance=False, max_sequence_length=self.parts[0].length
        )
        return {"prompt_embeds": embeds, "mask": mask}

    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        get = scheduler.config.get
        defaults = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}
        mu = calculate_shift(tokens, *(get(name, value) for name, value in defaults.items()))
        scheduler.set_timesteps(sigmas=numpy.linspace(1.0, 1 / steps, steps), device="cpu", mu=mu)

    def predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        rows, channels, height, width = latents.shape
        embeds, mask = (self.conditioning(batch, name) for name in ("prompt_embeds", "mask"))
        packed = self.pipeline.transformer(
            hidden_states=self.pipeline._pack_latents(latents, rows, channels, height, width),
            timestep=latents.new_full([rows], 1000 * sigma) / 1000,
            encoder_hidden_states=embeds,
            txt_ids=embeds.new_zeros(embeds.shape[1], 3),
            img_ids=self.pipeline._prepare_latent_image_ids(rows, height // 2, width // 2, embeds.device, embeds.dtype),
            attention_mask=torch.cat([mask, mask.new_ones(rows, height * width // 4)], dim=1),
            return_dict=False,
        )[0]
        return self.pipeline._unpack_latents(packed, height, width, 1)


def reference(backbone: Any, asked: Any) -> Tensor:
    """What the stock pipeline generates."""
    told = {"guidance_scale": asked.guidance, "negative_prompt": asked.negative, "max_sequence_length": 32}
    generated = stock(backbone, asked, **told)
    if asked.output == "picture":
        return generated
    return backbone.pipeline._unpack_latents(generated, asked.height, asked.width, backbone.pipeline.vae_scale_factor)


def tiny_chroma(seed: int = 0) -> ChromaPipeline:
    """A pipeline with 2 dual and 2 single blocks of 4 heads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers warns of a class of its own
        transformer = _transformer()
    pipeline = ChromaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny_autoencoder(shift_factor=0.1159),
        text_encoder=tiny_t5(),
        tokenizer=tiny_t5_tokenizer(32),
        transformer=transformer,
    )
    return ready(pipeline, seed)


def _transformer() -> ChromaTransformer2DModel:
    return ChromaTransformer2DModel(
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


CHROMA = subject("chroma", lambda: ChromaParameters().load("tiny", tiny_chroma()), reference)
