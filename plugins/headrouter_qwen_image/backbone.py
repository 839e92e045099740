"""Drive Qwen-Image: text first and of the prompt's own length, dual blocks, guidance rescaled to the conditional norm."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import QwenImagePipeline
from headrouter_diffusers.components.schedulers import set_shifted_steps
from headrouter_diffusers.packing import pack, unpack
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.text_parts import TextPart
from torch import Tensor

from headrouter.attention.guidance import rescaled
from headrouter.attention.rows import BatchRow
from headrouter.models.backbone import Defaults
from headrouter_qwen_image import RELEASED
from headrouter_qwen_image.parameters import QwenImageParameters


class QwenImageBackbone(DiffusersBackbone):
    """Drives a Qwen-Image pipeline; of a model that takes reference pictures, their tokens follow those of the image."""

    parameters: QwenImageParameters
    family = "qwen-image"
    kind: ClassVar[type] = QwenImagePipeline
    large = ("transformer", "text_encoder")
    released: ClassVar[tuple[str, ...]] = RELEASED
    rules = (SiteRule("transformer_blocks.*.attn", "dual"),)
    text_first = True
    packs_latents = True
    packed = 4
    films = True
    patch = 2
    guided = True

    def own_defaults(self) -> Defaults:
        return Defaults(50, 4.0, 1328 * 1328)

    def text_parts(self) -> Sequence[TextPart]:
        template, dropped = self.pipeline.prompt_template_encode, self.pipeline.prompt_template_encode_start_idx
        length = self.parameters.max_sequence_length
        return (TextPart("qwen", self.pipeline.tokenizer, length, 0, 1024, template=template, dropped=dropped),)

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        embeds, _ = self.pipeline.encode_prompt(text, max_sequence_length=self.parameters.max_sequence_length)
        return {"prompt_embeds": embeds}  # one prompt has no padding, and the mask of a batch is made for the batch

    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        set_shifted_steps(scheduler, steps, tokens)

    def combine(self, unconditional: Tensor, conditional: Tensor, guidance: float, sigma: float) -> Tensor:
        negative, positive = (pack(branch[None]) for branch in (unconditional, conditional))
        kept = rescaled(negative, positive, guidance, axes=2)  # the norm of each token
        return unpack(kept, *conditional.shape[1:])[0]

    def predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        (rows, _, height, width), mask = latents.shape, self.text_mask(batch)
        pictures = (latents, *self.references(batch))
        packed = self.pipeline.transformer(
            hidden_states=pack(*pictures),
            timestep=latents.new_full([rows], 1000 * sigma) / 1000,
            encoder_hidden_states=self.conditioning(batch, "prompt_embeds"),
            encoder_hidden_states_mask=None if mask.all() else mask,
            img_shapes=[[(1, each.shape[2] // 2, each.shape[3] // 2) for each in pictures]] * rows,
            return_dict=False,
        )[0]
        return unpack(packed[:, : height * width // 4], height, width)
