"""Drive Z-Image: image first, single blocks on one joined tensor, learnt tokens that fill up image and text."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import ZImagePipeline
from headrouter_diffusers.components.schedulers import set_shifted_steps
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.text_parts import TextPart, conversation
from torch import Tensor

from headrouter.attention.guidance import rescaled
from headrouter.attention.rows import BatchRow
from headrouter.models.backbone import Defaults
from headrouter_z_image import RELEASED
from headrouter_z_image.parameters import ZImageParameters


@final
class ZImageBackbone(DiffusersBackbone):
    """Drives a Z-Image pipeline; guidance g is 1 + its ``guidance_scale``."""

    parameters: ZImageParameters
    family = "z-image"
    kind = ZImagePipeline
    large = ("transformer", "text_encoder")
    released = RELEASED
    rules = (SiteRule("layers.*.attention", "single", text="x", joined=True),)
    text_first = False
    filled_to = 32
    patch = 2

    @property
    def distilled(self) -> bool:
        return self.defaults.guidance == 1

    @property
    def guided(self) -> bool:
        return not self.distilled

    def own_defaults(self) -> Defaults:
        return Defaults(50, 5.0, 1024 * 1024)

    def text_parts(self) -> Sequence[TextPart]:
        tokenizer, length = self.pipeline.tokenizer, self.parameters.max_sequence_length
        return (TextPart("qwen", tokenizer, length, 0, 512, template=conversation(tokenizer, thinking=True)),)

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        length = self.parameters.max_sequence_length
        [embeds], _ = self.pipeline.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=length)
        return {"prompt_embeds": embeds[None]}

    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        set_shifted_steps(scheduler, steps, tokens)

    def combine(self, unconditional: Tensor, conditional: Tensor, guidance: float, sigma: float) -> Tensor:
        if self.parameters.cfg_normalization:
            return rescaled(unconditional, conditional, guidance, shrink_only=True)
        return super().combine(unconditional, conditional, guidance, sigma)

    def predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        texts = [self.conditioning([item], "prompt_embeds")[0] for item in batch]
        time = torch.full([len(batch)], 1 - sigma, dtype=torch.float32, device=latents.device)
        towards_picture = self.pipeline.transformer(list(latents[:, :, None]), time, texts, return_dict=False)[0]
        return -torch.stack(towards_picture)[:, :, 0]
