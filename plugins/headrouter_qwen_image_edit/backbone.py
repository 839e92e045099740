"""Drive Qwen-Image-Edit: Qwen-Image with pictures behind the new one, which its text encoder sees, too."""

from collections.abc import Mapping, Sequence
from typing import final

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import QwenImageEditPipeline, QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import calculate_dimensions
from headrouter_qwen_image.backbone import QwenImageBackbone
from PIL import Image
from torch import Tensor

from headrouter.errors import InvalidInputError
from headrouter.imaging.picture import to_picture
from headrouter.models.backbone import Defaults
from headrouter_qwen_image_edit import RELEASED, RELEASED_PLUS
from headrouter_qwen_image_edit.parameters import EditPlusParameters


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
