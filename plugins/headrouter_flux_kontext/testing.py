"""Build small FLUX.1 Kontext models for the conformance kit."""

from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import FluxKontextPipeline
from headrouter_diffusers.packing import unpack
from headrouter_diffusers.testing import stock, subject, tiny_flux
from torch import Tensor

from headrouter.testing import BackboneSubject, Generation
from headrouter_flux_kontext.parameters import KontextParameters


def tiny_kontext(seed: int = 0) -> Any:
    """Return a pipeline with 2 dual and 2 single blocks of 4 heads."""
    pipeline = FluxKontextPipeline(**tiny_flux(seed=seed).components)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def subjects() -> list[BackboneSubject]:
    """Return models with embedded guidance, and with it and two evaluations."""
    two_passes = KontextParameters(guidance_kind="two-pass", embedded_guidance=2.5)
    return [
        subject("flux-kontext", lambda: KontextParameters().load("tiny", tiny_kontext()), reference),
        subject("flux-kontext-true", lambda: two_passes.load("tiny", tiny_kontext()), reference),
    ]


def reference(backbone: Any, asked: Generation) -> Tensor:
    """Return the latents that the stock pipeline generates, with the reference picture as it is."""
    guidance: dict[str, Any] = {"guidance_scale": asked.guidance}
    if backbone.guided:
        true = {"true_cfg_scale": asked.guidance, "negative_prompt": asked.negative}
        guidance = {"guidance_scale": backbone.parameters.embedded_guidance, **true}
    picture = asked.pictures[0] / 2 + 0.5 if asked.pictures else None
    how = {"max_sequence_length": backbone._length, "max_area": asked.width * asked.height, "_auto_resize": False}
    packed = stock(backbone, asked, image=picture, **how, **guidance)
    if asked.output == "picture":
        return packed
    factor = backbone.pipeline.vae_scale_factor
    return unpack(packed, asked.height // factor, asked.width // factor)
