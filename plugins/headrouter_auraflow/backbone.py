"""Drive AuraFlow: registers and text first, dual then single blocks on one joined tensor, unpacked latents."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import AuraFlowPipeline
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.text_parts import TextPart
from torch import Tensor

from headrouter.attention.rows import BatchRow
from headrouter.errors import InvalidInputError
from headrouter.models.backbone import Defaults
from headrouter_auraflow.parameters import AuraFlowParameters


@final
class AuraFlowBackbone(DiffusersBackbone):
    """Drives an AuraFlow pipeline."""

    family = "auraflow"
    kind = AuraFlowPipeline
    large = ("transformer", "text_encoder")
    released = ("fal/AuraFlow-v0.3",)
    rules = (
        SiteRule("joint_transformer_blocks.*.attn", "dual"),
        SiteRule("single_transformer_blocks.*.attn", "single", text="hidden_states", joined=True),
    )
    text_first = True
    registers = 8
    patch = 2
    guided = True

    parameters: AuraFlowParameters

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Return channels, rows and columns of the latents, within the positions that the model has learnt."""
        most = int(self.pipeline.transformer.config.pos_embed_max_size**0.5) * self.size_multiple
        if max(width, height) > most:
            raise InvalidInputError(f"`size` {width} × {height} is beyond the {most} pixels a side it has learnt.")
        return super().latent_shape(width, height)

    def own_defaults(self) -> Defaults:
        return Defaults(50, 3.5, 1024 * 1024)

    def text_parts(self) -> Sequence[TextPart]:
        return (self.parameters.part(self.pipeline.tokenizer, 0, 256),)

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        length = self.parts[0].length
        embeds, *_ = self.pipeline.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=length)
        return {"prompt_embeds": embeds}

    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        scheduler.set_timesteps(steps, device="cpu")

    def predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        embeds, time = self.conditioning(batch, "prompt_embeds"), latents.new_full([len(latents)], sigma)
        return self.pipeline.transformer(latents, embeds, time, return_dict=False)[0]  # type: ignore[no-any-return]
