"""Set how Flux is loaded."""

from typing import Literal

from headrouter_diffusers.parameters import NeededT5
from headrouter_diffusers.t5 import T5Parameters
from pydantic import Field

from headrouter.models.backbone import Backbone, Defaults


class FluxParameters(T5Parameters):
    """Sets how Flux is loaded and guided.

    Attributes:
        guidance_kind: ``embedded`` tells the model the guidance, ``two-pass`` evaluates prompt and negative prompt;
            ``auto`` is embedded where the model is made for it.
        embedded_guidance: Guidance given to a model with embedded guidance while ``guidance_kind`` is ``two-pass``.
        t5: Always true: Flux reads the words of a prompt through T5 alone.
    """

    guidance_kind: Literal["auto", "embedded", "two-pass"] = "auto"
    embedded_guidance: float = Field(default=3.5, ge=0)
    t5: NeededT5 = True

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_flux.backbone import FluxBackbone

        return FluxBackbone.load(self, source, pipeline, defaults)
