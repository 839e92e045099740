"""Drive Stable Diffusion 3 and 3.5: image first, dual blocks only, CLIP and T5 in one text."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import StableDiffusion3Pipeline
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import calculate_shift
from headrouter_diffusers.loading import LOADING, given_pipeline, load_pipeline
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.text_parts import TextPart
from torch import Tensor

from headrouter.attention.rows import BatchRow
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.models.backbone import Defaults
from headrouter_sd3 import RELEASED
from headrouter_sd3.parameters import SD3Parameters


@final
class SD3Backbone(DiffusersBackbone):
    """Drives a Stable Diffusion 3 or 3.5 pipeline: medium, large or turbo."""

    rules = (
        SiteRule("transformer_blocks.*.attn", "dual"),
        SiteRule("transformer_blocks.*.attn2", "image", text=None),
    )
    parameters: SD3Parameters
    kind = StableDiffusion3Pipeline
    text_first = False
    optional = ("text_encoder_3", "tokenizer_3")
    guided = True
    keeps_no_tensor = True

    def __init__(self, source: str, pipeline: Any, parameters: SD3Parameters, defaults: Defaults | None = None):
        """Drive ``pipeline``, a ``StableDiffusion3Pipeline``."""
        self.family = parameters.backbone
        super().__init__(source, pipeline, parameters, defaults)
        transformer = pipeline.transformer
        fused = any(type(processor).__name__.startswith("Fused") for processor in transformer.attn_processors.values())
        if fused and transformer.config.dual_attention_layers:
            raise IncompatibleError(
                "diffusers cannot run a model with image-only attention (SD3.5-medium) after `fuse_qkv_projections()`. Call"
                " `transformer.unfuse_qkv_projections()`."
            )

    @property
    def patch(self) -> int:
        return int(self.pipeline.transformer.config.patch_size)

    @property
    def _length(self) -> int:
        """Return the number of T5's positions, which are there, holding zeros, also without T5."""
        tokenizer = None if self.pipeline.text_encoder_3 is None else self.pipeline.tokenizer_3
        return self.parameters.length(256, tokenizer)

    def own_defaults(self) -> Defaults:
        """Return defaults by query and key norms, which 3.5 has and 3 has not; turbo looks like large."""
        configuration = self.pipeline.transformer.config
        known = type(configuration.sample_size) is int and configuration.sample_size > 0
        side = configuration.sample_size * self.pipeline.vae_scale_factor if known else 0
        return Defaults(28, 4.5 if configuration.qk_norm else 7.0, side * side)

    def text_parts(self) -> Sequence[TextPart]:
        clip = self.pipeline.tokenizer_max_length
        parts = [
            TextPart("clip-l", self.pipeline.tokenizer, clip, 0),
            TextPart("clip-g", self.pipeline.tokenizer_2, clip, 0),
        ]
        if self.pipeline.text_encoder_3 is not None:
            parts.append(self.parameters.part(self.pipeline.tokenizer_3, clip, 256))
        return parts

    def segments(self, length: int) -> tuple[tuple[str, int], ...]:
        return (("clip", length - self._length), ("t5", self._length))

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        how = {"do_classifier_free_guidance": False, "max_sequence_length": self._length}
        embeds, _, pooled, _ = self.pipeline.encode_prompt(text, text, text, device=self._placement()[0], **how)
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}

    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        get, shift = scheduler.config.get, {}
        if get("use_dynamic_shifting"):
            defaults = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.16}
            shift["mu"] = calculate_shift(tokens, *(get(name, value) for name, value in defaults.items()))
        scheduler.set_timesteps(steps, device="cpu", **shift)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Return channels, rows and columns of the latents, within the positions that the model has learnt."""
        most = int(self.pipeline.transformer.config.pos_embed_max_size) * self.size_multiple
        if max(width, height) > most:
            raise InvalidInputError(
                f"`size` {width}x{height} is larger than {self.name} has positions for, at most {most} pixels a side. Give a"
                " smaller `size`."
            )
        return super().latent_shape(width, height)

    def predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        return self.pipeline.transformer(  # type: ignore[no-any-return]
            hidden_states=latents,
            timestep=torch.full([len(latents)], 1000 * sigma, dtype=torch.float32, device=latents.device),
            encoder_hidden_states=self.conditioning(batch, "prompt_embeds"),
            pooled_projections=self.conditioning(batch, "pooled_prompt_embeds"),
            return_dict=False,
        )[0]


def load(parameters: SD3Parameters, source: str, pipeline: object | None, defaults: Defaults | None) -> SD3Backbone:
    """Load the pipeline that ``source`` names, without T5 if so asked, or take one that is given loaded."""
    wanted, name = SD3Backbone.kind, parameters.backbone
    if pipeline is None:
        pipeline = load_pipeline(
            wanted,
            source,
            parameters,
            backbone=name,
            optional=SD3Backbone.optional,
            without=() if parameters.t5 else SD3Backbone.optional,
            large=("transformer", "text_encoder_3"),
            released=RELEASED[name],
        )
    else:
        pipeline = given_pipeline(wanted, pipeline, parameters, backbone=name, loading=(*LOADING, "t5"))
    return SD3Backbone(source, pipeline, parameters, defaults)
