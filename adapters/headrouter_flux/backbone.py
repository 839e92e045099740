"""Drive Flux: text first, dual then single blocks, latents in packets of 2 × 2, two kinds of guidance."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import FluxPipeline
from headrouter_diffusers.components.schedulers import set_shifted_steps
from headrouter_diffusers.packing import pack, positions, unpack
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.text_parts import TextPart
from torch import Tensor

from headrouter.attention.rows import BatchRow
from headrouter.errors import IncompatibleError
from headrouter.models.backbone import Defaults
from headrouter_flux import RELEASED
from headrouter_flux.parameters import FluxParameters


class FluxBackbone(DiffusersBackbone):
    """Drives a Flux pipeline; of a model that takes reference pictures, their tokens follow those of the image."""

    parameters: FluxParameters
    family = "flux"
    kind = FluxPipeline
    large = ("transformer", "text_encoder_2")
    released: ClassVar[tuple[str, ...]] = RELEASED
    rules = (
        SiteRule("transformer_blocks.*.attn", "dual"),
        SiteRule("single_transformer_blocks.*.attn", "single"),
    )
    text_first = True
    packs_latents = True
    keeps_no_tensor = True
    packed = 4
    patch = 2

    def __init__(self, source: str, pipeline: Any, parameters: FluxParameters, defaults: Defaults | None = None):
        """Drive ``pipeline``, a ``FluxPipeline``."""
        super().__init__(source, pipeline, parameters, defaults)
        axes, width = pipeline.transformer.config.axes_dims_rope, pipeline.transformer.config.attention_head_dim
        if not all(type(axis) is int for axis in axes) or sum(axes) != width:
            raise IncompatibleError(
                f"`pipeline` ({source}) has a transformer whose `axes_dims_rope` {list(axes)} must be numbers that add up to its"
                f" `attention_head_dim` {width}. Use the configuration that the model was released with."
            )
        if parameters.guidance_kind == "embedded" and not self._embeds:
            raise IncompatibleError(
                f"`guidance_kind` 'embedded' needs a model made for it, and {source!r} is not. Use 'auto' or 'two-pass'."
            )

    @property
    def _embeds(self) -> bool:
        return bool(self.pipeline.transformer.config.guidance_embeds)

    @property
    def guided(self) -> bool:
        return self.parameters.guidance_kind == "two-pass" or not self._embeds

    @property
    def _length(self) -> int:
        return self.parameters.length(512, self.pipeline.tokenizer_2)

    def own_defaults(self) -> Defaults:
        side = self.pipeline.default_sample_size * self.pipeline.vae_scale_factor
        return Defaults(28, 3.5, side * side) if self._embeds else Defaults(4, 1.0, side * side)

    def text_parts(self) -> Sequence[TextPart]:
        clip = TextPart("clip", self.pipeline.tokenizer, self.pipeline.tokenizer_max_length, None)
        return clip, self.parameters.part(self.pipeline.tokenizer_2, 0, 512)

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        how = {"device": self._placement()[0], "max_sequence_length": self._length}
        embeds, pooled, _ = self.pipeline.encode_prompt(text, text, **how)
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}

    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        set_shifted_steps(scheduler, steps, tokens)

    def predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        (rows, _, height, width), pictures = latents.shape, (latents, *self.references(batch))
        embeds = self.conditioning(batch, "prompt_embeds")
        guidance = None
        if self._embeds:
            given = [self.parameters.embedded_guidance if self.guided else item.row.guidance for item in batch]
            guidance = torch.stack([embeds.new_full((), one, dtype=torch.float32) for one in given])
        time = torch.full([rows], 1000 * sigma, dtype=torch.float32, device=latents.device).to(latents.dtype) / 1000
        packed = self.pipeline.transformer(
            hidden_states=pack(*pictures),
            timestep=time,
            guidance=guidance,
            pooled_projections=self.conditioning(batch, "pooled_prompt_embeds"),
            encoder_hidden_states=embeds,
            txt_ids=self.once(batch, "txt_ids", lambda: embeds.new_zeros(embeds.shape[1], 3)),
            img_ids=self.once(
                batch,
                "img_ids",
                lambda: torch.cat(
                    [positions(each.shape[2], each.shape[3], embeds, number) for number, each in enumerate(pictures)]
                ),
            ),
            return_dict=False,
        )[0]
        return unpack(packed[:, : height * width // 4], height, width)
