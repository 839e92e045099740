"""Drive FLUX.1 Kontext: Flux with the tokens of one reference picture behind those of the image."""

from typing import final

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import FluxKontextPipeline
from headrouter_flux.backbone import FluxBackbone

from headrouter.models.backbone import Defaults
from headrouter_flux_kontext import RELEASED


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
