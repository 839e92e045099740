"""Build small Flux models for the conformance kit."""

from typing import Any

from headrouter_diffusers.packing import unpack
from headrouter_diffusers.testing import stock, subject, tiny_flux
from torch import Tensor

from headrouter.testing import BackboneSubject, Generation
from headrouter_flux.parameters import FluxParameters


def subjects() -> list[BackboneSubject]:
    """Return models with embedded guidance, with it and two evaluations, and without it."""
    two_passes = FluxParameters(guidance_kind="two-pass", embedded_guidance=2.5)
    return [
        subject("flux", lambda: FluxParameters().load("tiny", tiny_flux()), reference),
        subject("flux-true", lambda: two_passes.load("tiny", tiny_flux()), reference),
        subject("schnell", lambda: FluxParameters().load("tiny", tiny_flux(guidance_embeds=False)), reference),
    ]


def reference(backbone: Any, asked: Generation) -> Tensor:
    """Return the latents that the stock pipeline generates."""
    guidance: dict[str, Any] = {"guidance_scale": asked.guidance}
    if backbone.guided:
        true = {"true_cfg_scale": asked.guidance, "negative_prompt": asked.negative}
        guidance = {"guidance_scale": backbone.parameters.embedded_guidance, **true}
    packed = stock(backbone, asked, max_sequence_length=backbone._length, **guidance)
    if asked.output == "picture":
        return packed
    factor = backbone.pipeline.vae_scale_factor
    return unpack(packed, asked.height // factor, asked.width // factor)
