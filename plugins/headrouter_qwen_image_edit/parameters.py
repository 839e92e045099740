"""Set how Qwen-Image-Edit is loaded."""

from headrouter_qwen_image.parameters import QwenImageParameters
from pydantic import Field

from headrouter.models.backbone import Backbone, Defaults


class EditParameters(QwenImageParameters):
    """Sets how Qwen-Image-Edit is loaded."""

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_qwen_image_edit.backbone import EditBackbone

        return EditBackbone.load(self, source, pipeline, defaults)


class EditPlusParameters(QwenImageParameters):
    """Sets how Qwen-Image-Edit-2509 and later ones are loaded.

    Attributes:
        condition_area: Pixels at which the text encoder sees a picture.
    """

    condition_area: int = Field(default=384 * 384, ge=56 * 56, le=1024 * 1024)

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_qwen_image_edit.backbone import EditPlusBackbone

        return EditPlusBackbone.load(self, source, pipeline, defaults)
