"""Drive Qwen-Image-Edit: Qwen-Image with pictures behind the new one, which its text encoder sees, too."""

from collections.abc import Mapping, Sequence
from typing import final

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import QwenImageEditPipeline, QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import calculate_dimensions
from headrouter_qwen_image.backbone import QwenImageBackbone, QwenImageParameters
from PIL import Image
from pydantic import Field
from torch import Tensor

from headrouter.errors import InvalidInputError
from headrouter.imaging.picture import to_picture
from headrouter.models.backbone import Backbone, Defaults
from headrouter_qwen_image_edit import RELEASED, RELEASED_PLUS


class EditParameters(QwenImageParameters):
    """Sets how Qwen-Image-Edit is loaded."""

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        return EditBackbone.load(self, source, pipeline, defaults)


class EditPlusParameters(QwenImageParameters):
    """Sets how Qwen-Image-Edit-2509 and later ones are loaded.

    Attributes:
        condition_area: Pixels at which the text encoder sees a picture.
    """

    condition_area: int = Field(default=384 * 384, ge=56 * 56, le=1024 * 1024)

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        return EditPlusBackbone.load(self, source, pipeline, defaults)


class EditBackbone(QwenImageBackbone):
    """Drives a Qwen-Image-Edit pipeline."""

    family = "qwen-image-edit"
    kind = QwenImageEditPipeline
    released = RELEASED
    most_references = 1
    instructed = True
    reads_references = True

    def own_defaults(self) -> Defaults:
        return Defaults(50, 4.0, 1024 * 1024)

    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        raise InvalidInputError(f"`prompt`: {self.family} reads prompts together with a picture. Edit one.")

    def encode_instruction(self, text: str, references: Sequence[Tensor]) -> Mapping[str, Tensor]:
        embeds, _ = self.pipeline.encode_prompt(text, image=self.seen([to_picture(one[0]) for one in references]))
        return {"prompt_embeds": embeds}

    def seen(self, pictures: list[Image.Image]) -> Image.Image | list[Image.Image]:
        """Return the pictures as the text encoder sees them: at the size that is worked at."""
        return pictures[0]


@final
class EditPlusBackbone(EditBackbone):
    """Drives a Qwen-Image-Edit-Plus pipeline."""

    parameters: EditPlusParameters
    family = "qwen-image-edit-plus"
    kind = QwenImageEditPlusPipeline
    released = RELEASED_PLUS
    most_references = 3

    def seen(self, pictures: list[Image.Image]) -> Image.Image | list[Image.Image]:
        """Return the pictures as the text encoder sees them: brought to `condition_area`."""
        sizes = [calculate_dimensions(self.parameters.condition_area, one.width / one.height) for one in pictures]
        resize = self.pipeline.image_processor.resize
        return [resize(one, height, width) for one, (width, height) in zip(pictures, sizes, strict=True)]
