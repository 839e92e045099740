"""Set how Ovis-Image is loaded."""

from headrouter_diffusers.parameters import DiffusersParameters
from pydantic import Field

from headrouter.models.backbone import Backbone, Defaults


class OvisImageParameters(DiffusersParameters):
    """Sets how Ovis-Image is loaded.

    Attributes:
        max_sequence_length: Number of tokens of a prompt, the end of its template and padding included.
    """

    max_sequence_length: int = Field(default=256, ge=16, le=256)

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_ovis_image.backbone import OvisImageBackbone

        return OvisImageBackbone.load(self, source, pipeline, defaults)
