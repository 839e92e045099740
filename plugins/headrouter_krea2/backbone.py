"""Drive Krea 2: single blocks on text and image joined, text of many layers of a language model, a mask over its padding."""

from collections.abc import Mapping, Sequence
from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import Krea2Pipeline
from headrouter_diffusers.components.schedulers import set_shifted_steps
from headrouter_diffusers.packing import pack, positions, unpack
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.text_parts import TextPart
from torch import Tensor
from torch.nn.functional import pad

from headrouter.attention.rows import BatchRow
from headrouter.models.backbone import Defaults
from headrouter_krea2.parameters import Krea2Parameters


class Krea2Backbone(DiffusersBackbone):
    """Drives a Krea 2 pipeline, whose own scale of guidance s is `guidance` 1 + s: c + s·(c − u) = u + (1 + s)·(c − u)."""

    parameters: Krea2Parameters
    family = "krea2"
    kind = Krea2Pipeline
    large = ("transformer", "text_encoder")
    rules = (SiteRule("transformer_blocks.*.attn", "single", text="hidden_states", joined=True),)
    text_first = True
    packs_latents = True
    packed = 4
    films = True
    patch = 2
    guided = True
    text_axes = {"prompt_embeds": (1,), "mask": (1,)}  # noqa: RUF012

    def own_defaults(self) -> Defaults:
        return Defaults(8, 1.0, 1024 * 1024) if self.pipeline.config.is_distilled else Defaults(52, 4.5, 1024 * 1024)

    def text_parts(self) -> Sequence[TextPart]:
        pipeline, length = self.pipeline, self.parameters.max_sequence_length
        own, template = (
            length - pipeline.prompt_template_encode_num_suffix_tokens,
            pipeline.prompt_template_encode_prefix,
        )
        dropped = pipeline.prompt_template_encode_start_idx
        return (TextPart("qwen", pipeline.tokenizer, own, 0, 512, template=template + "{}", dropped=dropped),)

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        embeds, mask = self.pipeline.encode_prompt(text, max_sequence_length=self.parameters.max_sequence_length)
        return {"prompt_embeds": embeds, "mask": mask}

    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        set_shifted_steps(scheduler, steps, tokens, 1.15 if self.pipeline.config.is_distilled else None)

    def predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        rows, _, height, width = latents.shape
        embeds = self.conditioning(batch, "prompt_embeds")
        packed = self.pipeline.transformer(
            hidden_states=pack(latents),
            encoder_hidden_states=embeds,
            timestep=latents.new_full([rows], sigma),
            position_ids=pad(positions(height, width, embeds.float()), (0, 0, embeds.shape[1], 0)),
            encoder_attention_mask=self.conditioning(batch, "mask"),
            return_dict=False,
        )[0]
        return unpack(packed, height, width)
