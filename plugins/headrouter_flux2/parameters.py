"""Set how FLUX.2 is loaded."""

from headrouter_diffusers.parameters import DiffusersParameters
from pydantic import Field

from headrouter.models.backbone import Backbone, Defaults


class Flux2Parameters(DiffusersParameters):
    """Sets how FLUX.2 dev is loaded.

    Attributes:
        max_sequence_length: Number of tokens of a prompt, its template and padding included; fewer are faster, and not what
            the model was trained on.
    """

    max_sequence_length: int = Field(default=512, ge=16, le=512)

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_flux2.backbone import DevBackbone

        return DevBackbone.load(self, source, pipeline, defaults)


class KleinParameters(Flux2Parameters):
    """Sets how FLUX.2 klein is loaded."""

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_flux2.backbone import KleinBackbone

        return KleinBackbone.load(self, source, pipeline, defaults)
