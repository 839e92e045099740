"""FLUX.2 klein: a chat template padded on the left, latents in patches that are normalised like a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
import numpy
import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from headrouter_diffusers.parameters import DiffusersParameters
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.testing import ready, stock, subject
from headrouter_diffusers.text_parts import TextPart
from pydantic import Field
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from headrouter.attention.rows import BatchRow
from headrouter.models.backbone import Backbone, Defaults

from .tokenizer import byte_tokenizer


class Flux2Parameters(DiffusersParameters):
    """How to load FLUX.2 klein.

    Attributes:
        max_sequence_length: Number of tokens of a prompt, template and padding included.
        layers: Layers of the text encoder that the model reads.
    """

    max_sequence_length: int = Field(default=512, ge=16, le=512)
    layers: tuple[int, ...] = (9, 18, 27)

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model."""
        return Flux2Backbone.load(self, source, pipeline, defaults)


class Flux2Backbone(DiffusersBackbone):
    """A FLUX.2 klein pipeline."""

    parameters: Flux2Parameters
    family = "flux2"
    kind = Flux2KleinPipeline
    large = ("transformer", "text_encoder")
    rules = (
        SiteRule("transformer_blocks.*.attn", "dual"),
        SiteRule("single_transformer_blocks.*.attn", "single", text="hidden_states", joined=True),
    )
    text_first = True
    packs_latents = True
    packed = 4
    patch = 1
    guided = True

    def own_defaults(self) -> Defaults:
        return Defaults(50, 4.0, 1024 * 1024)

    def text_parts(self) -> Sequence[TextPart]:
        tokenizer, length = self.pipeline.tokenizer, self.parameters.max_sequence_length
        message, how = [{"role": "user", "content": "{}"}], {"add_generation_prompt": True, "enable_thinking": False}
        template = tokenizer.apply_chat_template(message, tokenize=False, **how)
        left = tokenizer.padding_side == "left"
        return (TextPart("qwen", tokenizer, length, 0, 512, template=template, padded_left=left),)

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        asked = {"max_sequence_length": self.parameters.max_sequence_length}
        embeds, _ = self.pipeline.encode_prompt(text, text_encoder_out_layers=self.parameters.layers, **asked)
        return {"prompt_embeds": embeds}

    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        mu = compute_empirical_mu(image_seq_len=tokens, num_steps=steps)
        scheduler.set_timesteps(sigmas=numpy.linspace(1.0, 1 / steps, steps), device="cpu", mu=mu)

    @property
    def latent_channels(self) -> int:
        return 4 * super().latent_channels

    @property
    def latent_stride(self) -> int:
        return 2 * super().latent_stride

    def to_latents(self, raw: Tensor) -> Tensor:
        mean, deviation = statistics(self.pipeline.vae)
        return (self.pipeline._patchify_latents(raw) - mean) / deviation

    def from_latents(self, latents: Tensor) -> Tensor:
        mean, deviation = statistics(self.pipeline.vae)
        return self.pipeline._unpatchify_latents(latents * deviation + mean)

    def predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        embeds = self.conditioning(batch, "prompt_embeds")
        packed = self.pipeline.transformer(
            hidden_states=self.pipeline._pack_latents(latents),
            timestep=latents.new_full([len(latents)], 1000 * sigma) / 1000,
            guidance=None,
            encoder_hidden_states=embeds,
            txt_ids=self.pipeline._prepare_text_ids(embeds).to(embeds.device),
            img_ids=self.pipeline._prepare_latent_ids(latents).to(embeds.device),
            return_dict=False,
        )[0]
        return packed.mT.unflatten(2, latents.shape[2:])


def statistics(vae: Any) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel of patches, each [1, channels, 1, 1]."""
    mean, variance = (each.float().view(1, -1, 1, 1) for each in (vae.bn.running_mean, vae.bn.running_var))
    return mean, (variance + vae.config.batch_norm_eps).sqrt()


def reference(backbone: Any, asked: Any) -> Tensor:
    """What the stock pipeline generates; it gives latents as its autoencoder takes them."""
    pipeline, told = backbone.pipeline, {"text_encoder_out_layers": (1, 2, 3), "max_sequence_length": 64}
    negative, _ = pipeline.encode_prompt(asked.negative, **told)
    generated = stock(backbone, asked, guidance_scale=asked.guidance, negative_prompt_embeds=negative, **told)
    if asked.output == "picture":
        return generated
    mean, deviation = statistics(pipeline.vae)
    return (pipeline._patchify_latents(generated) - mean) / deviation


def tiny_flux2(seed: int = 0) -> Flux2KleinPipeline:
    """A pipeline with 2 dual and 2 single blocks of 4 heads; one token for each byte."""
    tokenizer = byte_tokenizer(padding_side="left")
    begin, end = "<|im_start|>", "<|im_end|>"
    message = f"{begin}{{{{ message.role }}}}\n{{{{ message.content }}}}{end}\n"
    tokenizer.chat_template = f"{{% for message in messages %}}{message}{{% endfor %}}{begin}"
    blocks, width = ("DownEncoderBlock2D",) * 2, 32
    pipeline = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=AutoencoderKLFlux2(
            down_block_types=blocks,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(4, 8),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=2,
        ),
        text_encoder=Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokenizer),
                hidden_size=width,
                intermediate_size=width,
                num_hidden_layers=4,
                num_attention_heads=2,
                num_key_value_heads=2,
                head_dim=16,
            )
        ),
        tokenizer=tokenizer,
        transformer=Flux2Transformer2DModel(
            in_channels=16,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=4,
            joint_attention_dim=3 * width,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
    )
    generator = torch.Generator().manual_seed(seed)
    pipeline.vae.bn.running_mean.copy_(torch.randn(16, generator=generator, dtype=torch.float32, device="cpu"))
    pipeline.vae.bn.running_var.copy_(torch.rand(16, generator=generator, dtype=torch.float32, device="cpu") + 0.2)
    return ready(pipeline, seed)


FLUX2 = subject(
    "flux2", lambda: Flux2Parameters(max_sequence_length=64, layers=(1, 2, 3)).load("tiny", tiny_flux2()), reference
)
