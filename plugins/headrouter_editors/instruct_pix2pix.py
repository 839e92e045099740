"""Edit by InstructPix2Pix, arXiv:2211.09800."""

from typing import Any, ClassVar

import torch
from PIL import Image
from pydantic import Field

from headrouter.experiments.other_editor import EditRequest
from headrouter_editors.pipelines import InstructedEditor


class InstructPix2Pix(InstructedEditor):
    """Holds the parameters of InstructPix2Pix; the defaults are those of its authors.

    Attributes:
        steps: Steps of the pipeline.
        guidance: Weight of the instruction, s_T.
        picture_guidance: Weight of the picture, s_I.
    """

    model: str = "timbrooks/instruct-pix2pix"
    steps: int = Field(100, ge=1, le=10_000)
    guidance: float = Field(7.5, ge=0, lt=1000)
    picture_guidance: float = Field(1.5, ge=1, lt=1000)

    pipeline: ClassVar[str] = "StableDiffusionInstructPix2PixPipeline"

    def run(self, pipeline: Any, picture: Image.Image, asked: EditRequest, noise: torch.Generator) -> Any:
        """Run the pipeline on a picture of the size to work at, and return its output."""
        return pipeline(
            prompt=self.asked(asked),
            image=picture,
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            image_guidance_scale=self.picture_guidance,
            generator=noise,
        )
