"""Set how Z-Image is loaded."""

from headrouter_diffusers.parameters import DiffusersParameters
from pydantic import Field

from headrouter.models.backbone import Backbone, Defaults


class ZImageParameters(DiffusersParameters):
    """Sets how Z-Image is loaded and guided.

    Attributes:
        max_sequence_length: Most tokens of a prompt, its template included.
        cfg_normalization: Whether guidance may not make a velocity longer than it is with the prompt alone; its makers
            recommend that for realistic pictures.
    """

    max_sequence_length: int = Field(default=512, ge=16, le=512)
    cfg_normalization: bool = False

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_z_image.backbone import ZImageBackbone

        return ZImageBackbone.load(self, source, pipeline, defaults)
