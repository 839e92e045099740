"""Drive Ovis-Image: text first, dual then single blocks, latents in packets of 2 × 2, text at positions of its own."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import OvisImagePipeline
from headrouter_diffusers.components.schedulers import set_shifted_steps
from headrouter_diffusers.packing import pack, positions, unpack
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.text_parts import TextPart, conversation
from torch import Tensor

from headrouter.attention.rows import BatchRow
from headrouter.models.backbone import Defaults
from headrouter_ovis_image import RELEASED
from headrouter_ovis_image.parameters import OvisImageParameters


@final
class OvisImageBackbone(DiffusersBackbone):
    """Drives an Ovis-Image pipeline."""

    parameters: OvisImageParameters
    family = "ovis-image"
    kind = OvisImagePipeline
    large = ("transformer", "text_encoder")
    released = RELEASED
    rules = (SiteRule("transformer_blocks.*.attn", "dual"), SiteRule("single_transformer_blocks.*.attn", "single"))
    text_first = True
    packs_latents = True
    packed = 4
    patch = 2
    guided = True

    def own_defaults(self) -> Defaults:
        return Defaults(50, 5.0, 1024 * 1024)

    def text_parts(self) -> Sequence[TextPart]:
        tokenizer, dropped = self.pipeline.tokenizer, self.pipeline.user_prompt_begin_id
        template = conversation(tokenizer, self.pipeline.system_prompt + "{}", thinking=False)
        length, left = self.parameters.max_sequence_length, tokenizer.padding_side == "left"
        return (TextPart("ovis", tokenizer, length, 0, 256, template=template, dropped=dropped, padded_left=left),)

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        length = self.parameters.max_sequence_length
        embeds, *_ = self.pipeline.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=length)
        return {"prompt_embeds": embeds}

    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        set_shifted_steps(scheduler, steps, tokens)

    def predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        rows, _, height, width = latents.shape
        embeds = self.conditioning(batch, "prompt_embeds")
        places = torch.arange(embeds.shape[1], dtype=torch.int64, device="cpu").to(embeds)
        packed = self.pipeline.transformer(
            hidden_states=pack(latents),
            timestep=latents.new_full([rows], 1000 * sigma) / 1000,
            encoder_hidden_states=embeds,
            txt_ids=torch.stack([0 * places, places, places], dim=1),
            img_ids=positions(height, width, embeds),
            return_dict=False,
        )[0]
        return unpack(packed, height, width)
