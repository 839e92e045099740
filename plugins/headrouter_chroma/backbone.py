"""Drive Chroma: the blocks of Flux without CLIP, T5 with a mask over its padding, classifier-free guidance."""

from collections.abc import Mapping, Sequence
from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import ChromaPipeline
from headrouter_diffusers.components.schedulers import set_shifted_steps
from headrouter_diffusers.packing import pack, positions, unpack
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.text_parts import TextPart
from torch import Tensor

from headrouter.attention.rows import BatchRow
from headrouter.models.backbone import Defaults
from headrouter_chroma import RELEASED
from headrouter_chroma.parameters import ChromaParameters


class ChromaBackbone(DiffusersBackbone):
    """Drives a Chroma pipeline."""

    parameters: ChromaParameters
    family = "chroma"
    kind = ChromaPipeline
    large = ("transformer", "text_encoder")
    released = RELEASED
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
        return Defaults(40, 3.0, 1024 * 1024)

    def text_parts(self) -> Sequence[TextPart]:
        return (self.parameters.part(self.pipeline.tokenizer, 0, 512),)

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        how = {"do_classifier_free_guidance": False, "max_sequence_length": self.parts[0].length}
        embeds, _, mask, *_ = self.pipeline.encode_prompt(text, **how)
        return {"prompt_embeds": embeds, "mask": mask}

    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        set_shifted_steps(scheduler, steps, tokens)

    def predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        rows, _, height, width = latents.shape
        embeds, mask = (self.conditioning(batch, name) for name in ("prompt_embeds", "mask"))
        packed = self.pipeline.transformer(
            hidden_states=pack(latents),
            timestep=latents.new_full([rows], 1000 * sigma) / 1000,
            encoder_hidden_states=embeds,
            txt_ids=embeds.new_zeros(embeds.shape[1], 3),
            img_ids=positions(height, width, embeds),
            attention_mask=torch.cat([mask, mask.new_ones(rows, height * width // 4)], dim=1),
            return_dict=False,
        )[0]
        return unpack(packed, height, width)
