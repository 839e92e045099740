"""Drive FLUX.2: text of a language model first, dual then single blocks, latents in patches that are normalised."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import Flux2KleinPipeline, Flux2Pipeline
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu, format_input
from headrouter_diffusers.components.schedulers import set_shifted_steps
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.text_parts import TextPart
from torch import Tensor

from headrouter.attention.rows import BatchRow
from headrouter.models.backbone import Defaults
from headrouter_flux2 import RELEASED
from headrouter_flux2.parameters import Flux2Parameters


class Flux2Backbone(DiffusersBackbone):
    """Drives what dev and klein have in common."""

    parameters: Flux2Parameters
    large = ("transformer", "text_encoder")
    rules = (
        SiteRule("transformer_blocks.*.attn", "dual"),
        SiteRule("single_transformer_blocks.*.attn", "single", text="hidden_states", joined=True),
    )
    text_first = True
    packs_latents = True
    packed = 4
    patch = 1
    most_references = 6

    @abstractmethod
    def template(self) -> str:
        """Return the text that the pipeline makes of the prompt ``{}``."""

    def text_parts(self) -> Sequence[TextPart]:
        tokenizer = getattr(self.pipeline.tokenizer, "tokenizer", self.pipeline.tokenizer)
        length, left = self.parameters.max_sequence_length, tokenizer.padding_side == "left"
        return (TextPart("language", tokenizer, length, 0, 512, template=self.template(), padded_left=left),)

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        embeds, _ = self.pipeline.encode_prompt(text, max_sequence_length=self.parameters.max_sequence_length)
        return {"prompt_embeds": embeds}

    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        set_shifted_steps(scheduler, steps, tokens, compute_empirical_mu(tokens, steps))

    def predict(self, latents: Tensor, sigma: float, batch: Sequence[BatchRow]) -> Tensor:
        embeds, embedded = self.conditioning(batch, "prompt_embeds"), self.pipeline.transformer.config.guidance_embeds
        pictures = (latents, *self.references(batch))
        places = [_places(embeds.device, [10 * at], *map(range, one.shape[2:]), [0]) for at, one in enumerate(pictures)]
        packed: Tensor = self.pipeline.transformer(
            hidden_states=torch.cat([one.flatten(2).mT for one in pictures], dim=1),
            timestep=latents.new_full([len(latents)], 1000 * sigma) / 1000,
            guidance=latents.new_tensor([item.row.guidance for item in batch], dtype=torch.float32)
            if embedded
            else None,
            encoder_hidden_states=embeds,
            txt_ids=_places(embeds.device, [0], [0], [0], range(embeds.shape[1])),
            img_ids=torch.cat(places),
            return_dict=False,
        )[0]
        return packed[:, : latents[0, 0].numel()].mT.reshape(latents.shape)


class DevBackbone(Flux2Backbone):
    """Drives a FLUX.2 dev pipeline."""

    family = "flux2"
    kind = Flux2Pipeline
    released = RELEASED
    guided = False

    def own_defaults(self) -> Defaults:
        return Defaults(50, 4.0, 1024 * 1024)

    def template(self) -> str:
        [messages] = format_input(["{}"], self.pipeline.system_message)
        return str(self.pipeline.tokenizer.apply_chat_template(messages, tokenize=False))


class KleinBackbone(Flux2Backbone):
    """Drives a FLUX.2 klein pipeline, base or distilled."""

    family = "flux2-klein"
    kind = Flux2KleinPipeline
    most_references = 4

    @property
    def distilled(self) -> bool:
        return bool(self.pipeline.config.is_distilled)

    @property
    def guided(self) -> bool:
        return not self.distilled

    def own_defaults(self) -> Defaults:
        return Defaults(4, 1.0, 1024 * 1024) if self.distilled else Defaults(50, 4.0, 1024 * 1024)

    def template(self) -> str:
        how = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": False}
        return str(self.pipeline.tokenizer.apply_chat_template([{"role": "user", "content": "{}"}], **how))


def _places(device: torch.device, *axes: Sequence[int]) -> Tensor:
    """Return the places of tokens on four axes, [tokens, 4]: 10 · picture, row, column, position in the text."""
    return torch.cartesian_prod(*(torch.tensor([*axis], dtype=torch.int64, device=device) for axis in axes))
