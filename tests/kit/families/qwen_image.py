"""Qwen-Image: prompts in a template and of their own lengths, an autoencoder of films, a mean and deviation for each channel."""

from collections.abc import Mapping, Sequence
from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
import numpy
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from diffusers.pipelines.qwenimage.pipeline_qwenimage import calculate_shift
from headrouter_diffusers.parameters import DiffusersParameters
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.testing import ready, stock, subject
from headrouter_diffusers.text_parts import TextPart
from pydantic import Field
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from headrouter.attention.guidance import rescaled
from headrouter.attention.rows import BatchRow
from headrouter.models.backbone import Backbone, Defaults

from .tokenizer import byte_tokenizer


class QwenImageParameters(DiffusersParameters):
    """How to load Qwen-Image.

    Attributes:
        max_sequence_length: Most tokens of a prompt, the end of its template included.
    """

    max_sequence_length: int = Field(default=512, ge=8, le=1024)

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model."""
        return QwenImageBackbone.load(self, source, pipeline, defaults)


class QwenImageBackbone(DiffusersBackbone):
    """A Qwen-Image pipeline."""

    parameters: QwenImageParameters
    family = "qwen-image"
    kind = QwenImagePipeline
    large = ("transformer", "text_encoder")
    rules = (SiteRule("transformer_blocks.*.attn", "dual"),)
    text_first = True
    packs_latents = True
    packed = 4
    films = True
    patch = 2
    guided = True

    def own_defaults(self) -> Defaults:
        return Defaults(50, 4.0, 1024 * 1024)

    def text_parts(self) -> Sequence[TextPart]:
        template, dropped = self.pipeline.prompt_template_encode, self.pipeline.prompt_template_encode_start_idx
        length = self.parameters.max_sequence_length
        return (TextPart("qwen", self.pipeline.tokenizer, length, 0, 1024, template=template, dropped=dropped),)

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        embeds, _ = self.pipeline.encode_prompt(text, max_sequence_length=self.parameters.max_sequence_length)
        return {"prompt_embeds": embeds}  # one prompt has no padding, and the mask of a batch is made for the batch

    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        get = scheduler.config.get
        defaults = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}
        mu = calculate_shift(tokens, *(get(name, value) for name, value in defaults.items()))
        scheduler.set_timesteps(sigmas=numpy.linspace(1.0, 1 / steps, steps), device="cpu", mu=mu)

    def combine(self, unconditional: Tensor, conditional: Tensor, guidance: float, sigma: float) -> Tensor:
        patches = [branch.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)) for branch in (unconditional, conditional)]
        return rescaled(*patches, guidance, axes=(0, 2, 4)).flatten(3).flatten(1, 2)  # the norm of each token is kept

    def predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        rows, channels, height, width = latents.shape
        mask = self.text_mask(batch)
        packed = self.pipeline.transformer(
            hidden_states=self.pipeline._pack_latents(latents, rows, channels, height, width),
            timestep=latents.new_full([rows], 1000 * sigma) / 1000,
            encoder_hidden_states=self.conditioning(batch, "prompt_embeds"),
            encoder_hidden_states_mask=None if mask.all() else mask,
            img_shapes=[[(1, height // 2, width // 2)]] * rows,
            return_dict=False,
        )[0]
        return self.pipeline._unpack_latents(packed, height, width, 1)[:, :, 0]


def reference(backbone: Any, asked: Any) -> Tensor:
    """What the stock pipeline generates."""
    told = {"true_cfg_scale": asked.guidance, "negative_prompt": asked.negative if asked.guidance > 1 else None}
    generated = stock(backbone, asked, max_sequence_length=64, **told)
    if asked.output == "picture":
        return generated
    return backbone.pipeline._unpack_latents(generated, asked.height, asked.width, backbone.pipeline.vae_scale_factor)[
        :, :, 0
    ]


def tiny_qwen_image(seed: int = 0) -> QwenImagePipeline:
    """A pipeline with 2 blocks of 4 heads; one token for each byte."""
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
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 2, 2],
            num_res_blocks=1,
            temperal_downsample=[False, True],
            latents_mean=[-0.75, 0.3, 0.11, 0.9],
            latents_std=[2.8, 1.4, 0.6, 1.7],
        ),
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


QWEN_IMAGE = subject(
    "qwen-image", lambda: QwenImageParameters(max_sequence_length=64).load("tiny", tiny_qwen_image()), reference
)
