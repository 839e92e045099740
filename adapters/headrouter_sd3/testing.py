"""Build small Stable Diffusion 3 and 3.5 models for the conformance kit."""

from typing import Any

from headrouter_diffusers.testing import stock, subject, tiny_sd3, tiny_sd35
from torch import Tensor

from headrouter.testing import BackboneSubject, Generation
from headrouter_sd3.parameters import SD3Parameters, SD35Parameters


def subjects() -> list[BackboneSubject]:
    """Return Stable Diffusion 3 models, with and without T5."""
    short = SD3Parameters(max_sequence_length=24)
    return [
        subject("sd3", lambda: SD3Parameters().load("tiny", tiny_sd3()), reference),
        subject("sd3-without-t5", lambda: short.load("tiny", tiny_sd3(t5=False)), reference),
    ]


def subjects_35() -> list[BackboneSubject]:
    """Return Stable Diffusion 3.5 models, with image-only attention and without."""
    parameters = SD35Parameters()
    return [
        subject("sd3.5-medium", lambda: parameters.load("tiny", tiny_sd35()), reference),
        subject("sd3.5-large", lambda: parameters.load("tiny", tiny_sd35(dual=False)), reference),
    ]


def reference(backbone: Any, asked: Generation) -> Tensor:
    """Return the latents that the stock pipeline generates."""
    told = {"guidance_scale": asked.guidance, "negative_prompt": asked.negative}
    return stock(backbone, asked, max_sequence_length=backbone._length, **told)
