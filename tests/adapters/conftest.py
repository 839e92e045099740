"""Tiny backbones of every kind, and listeners."""

from dataclasses import dataclass, field

import pytest
import torch
from headrouter_diffusers.testing import tiny_flux, tiny_sd3, tiny_sd35
from headrouter_flux.backbone import FluxParameters
from headrouter_sd3.backbone import SD3Parameters

from headrouter.backbone import Backbone, Listener
from headrouter.clock import Clock
from headrouter.joint_attention import JointAttention, TextStream
from headrouter.rows import Row

KINDS = ("flux", "flux-true", "schnell", "sd3", "sd3.5-medium", "sd3.5-large", "sd3-without-t5")


def build(kind: str, seed: int = 0) -> Backbone:
    """A tiny backbone."""
    match kind:
        case "flux":
            return FluxParameters().load("tiny", tiny_flux(seed=seed))
        case "flux-true":
            return FluxParameters(guidance_kind="two-pass", embedded_guidance=2.5).load("tiny", tiny_flux(seed=seed))
        case "schnell":
            return FluxParameters().load("tiny", tiny_flux(guidance_embeds=False, seed=seed))
        case "sd3":
            return SD3Parameters().load("tiny", tiny_sd3(seed=seed))
        case "sd3.5-medium":
            return SD3Parameters().load("tiny", tiny_sd35(seed=seed))
        case "sd3.5-large":
            return SD3Parameters().load("tiny", tiny_sd35(dual=False, seed=seed))
        case "sd3-without-t5":
            return SD3Parameters(max_sequence_length=24).load("tiny", tiny_sd3(t5=False, seed=seed))
    raise ValueError(kind)


@pytest.fixture(params=KINDS)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """One tiny backbone of each kind."""
    return build(request.param)


@dataclass
class Plain(Listener):
    """Records what it hears and changes nothing."""

    events: list[JointAttention] = field(default_factory=list)
    streams: list[TextStream] = field(default_factory=list)
    forwards: int = 0
    log_sum_exp: bool = False

    @property
    def clock(self) -> Clock:
        return Clock("sample", 0, 1, 0, 0.5, self.forwards)

    def begin_forward(self, rows, layout):
        self.forwards += 1

    def attention(self, event):
        self.events.append(event)
        return event.attend(log_sum_exp=self.log_sum_exp)

    def text(self, stream):
        self.streams.append(stream)
        return stream.hidden


class Steering(Plain):
    """Doubles one head of the conditional rows and shrinks the text."""

    def attention(self, event):
        output = super().attention(event).clone()
        for place, item in enumerate(event.rows):
            if item.half == "conditional":
                output[place, 1] *= 2
        return output

    def text(self, stream):
        return super().text(stream) * 0.9


def rows_of(backbone: Backbone, *prompts: str, guidance: float = 3.0, negative: str = "") -> list[Row]:
    """A source and edits."""
    *texts, nothing = backbone.encode_prompts([*prompts, negative])
    return [Row(text, nothing, guidance, edit=None if index == 0 else index - 1) for index, text in enumerate(texts)]


def noise(backbone: Backbone, rows: int = 1, width: int = 48, height: int = 32, seed: int = 0) -> torch.Tensor:
    """Latents."""
    shape = (rows, *backbone.latent_shape(width, height))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
