"""Drive FLUX.1 Kontext: Flux with the tokens of one reference picture behind those of the image."""

from typing import final

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import FluxKontextPipeline
from headrouter_flux.backbone import FluxBackbone, FluxParameters

from headrouter.models.backbone import Backbone, Defaults
from headrouter_flux_kontext import RELEASED


class KontextParameters(FluxParameters):
    """Sets how FLUX.1 Kontext is loaded and guided."""

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        return KontextBackbone.load(self, source, pipeline, defaults)


@final
class KontextBackbone(FluxBackbone):
    """Drives a FLUX.1 Kontext pipeline."""

    family = "flux-kontext"
    kind = FluxKontextPipeline
    released = RELEASED
    most_references = 1
    instructed = True

    def own_defaults(self) -> Defaults:
        known = super().own_defaults()
        return Defaults(28, 2.5, known.area) if self._embeds else known
