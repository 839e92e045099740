"""AuraFlow: registers and text first, dual blocks and then single ones on one joined tensor, latents as pictures."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import AuraFlowPipeline
from headrouter_diffusers.loading import given_pipeline, load_pipeline
from headrouter_diffusers.parameters import NeededT5
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.t5 import T5Parameters
from headrouter_diffusers.text_parts import TextPart
from torch import Tensor

from headrouter.attention.rows import BatchRow
from headrouter.errors import InvalidInputError
from headrouter.models.backbone import Backbone, Defaults


class AuraFlowParameters(T5Parameters):
    """How to load AuraFlow.

    Attributes:
        t5: Always true: AuraFlow reads its prompts through T5 alone.
    """

    t5: NeededT5 = True

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        if pipeline is None:
            large, released = ("transformer", "text_encoder"), ("fal/AuraFlow-v0.3",)
            pipeline = load_pipeline(
                AuraFlowPipeline, source, self, backbone="auraflow", large=large, released=released
            )
        else:
            pipeline = given_pipeline(AuraFlowPipeline, pipeline, self, backbone="auraflow")
        return AuraFlowBackbone(source, pipeline, self, defaults)


@final
class AuraFlowBackbone(DiffusersBackbone):
    """An AuraFlow pipeline."""

    family = "auraflow"
    rules = (
        SiteRule("joint_transformer_blocks.*.attn", "dual"),
        SiteRule("single_transformer_blocks.*.attn", "single", text="hidden_states", joined=True),
    )
    text_first = True
    registers = 8
    _patch = 2
    _guided = True

    def __init__(self, source: str, pipeline: Any, parameters: AuraFlowParameters, defaults: Defaults | None = None):
        """``pipeline`` is an ``AuraFlowPipeline``."""
        self._parameters = parameters
        super().__init__(source, pipeline, defaults)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Channels, rows and columns of the latents, within the positions that the model has learnt."""
        most = int(self.pipeline.transformer.config.pos_embed_max_size**0.5) * self.size_multiple
        if max(width, height) > most:
            raise InvalidInputError(f"`size` {width} × {height} is beyond the {most} pixels a side it has learnt.")
        return super().latent_shape(width, height)

    def _own_defaults(self) -> Defaults:
        return Defaults(50, 3.5, 1024 * 1024)

    def _text_parts(self) -> Sequence[TextPart]:
        return (self._parameters.part(self.pipeline.tokenizer, 0, 256),)

    def _segments(self, length: int) -> tuple[tuple[str, int], ...]:
        return (("t5", length),)

    def _encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        length = self._parts[0].length
        embeds, *_ = self.pipeline.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=length)
        return {"prompt_embeds": embeds}

    def _set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        scheduler.set_timesteps(steps, device="cpu")

    def _predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        embeds, time = self._conditioning(batch, "prompt_embeds"), latents.new_full([len(latents)], sigma)
        return self.pipeline.transformer(latents, embeds, time, return_dict=False)[0]  # type: ignore[no-any-return]
