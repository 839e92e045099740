"""Set how Qwen-Image is loaded."""

from headrouter_diffusers.parameters import DiffusersParameters
from pydantic import Field

from headrouter.models.backbone import Backbone, Defaults


class QwenImageParameters(DiffusersParameters):
    """Sets how Qwen-Image is loaded.

    Attributes:
        max_sequence_length: Most tokens of a prompt, the end of its template included.
    """

    max_sequence_length: int = Field(default=512, ge=8, le=1024)

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_qwen_image.backbone import QwenImageBackbone

        return QwenImageBackbone.load(self, source, pipeline, defaults)
