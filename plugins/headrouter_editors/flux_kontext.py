"""Edit by FLUX.1 Kontext, arXiv:2506.15742."""

from typing import Any, ClassVar

import torch
from PIL import Image
from pydantic import Field

from headrouter.experiments.other_editor import EditRequest
from headrouter_editors.pipelines import InstructedEditor


class FluxKontext(InstructedEditor):
    """Holds the parameters of FLUX.1 Kontext; the defaults are diffusers'.

    Attributes:
        steps: Steps of the pipeline.
        guidance: Guidance that the model is given.
    """

    model: str = "black-forest-labs/FLUX.1-Kontext-dev"
    area: int = Field(1024 * 1024, ge=64 * 64, le=8192**2)
    steps: int = Field(28, ge=1, le=10_000)
    guidance: float = Field(3.5, ge=0, lt=1000)

    pipeline: ClassVar[str] = "FluxKontextPipeline"
    multiple: ClassVar[int] = 16

    def run(self, pipeline: Any, picture: Image.Image, asked: EditRequest, noise: torch.Generator) -> Any:
        """Run the pipeline on a picture of the size to work at, and return its output.

        The picture that the model sees has that size too, not one of those that the pipeline prefers.
        """
        width, height = picture.size
        return pipeline(
            prompt=self.asked(asked),
            image=picture,
            width=width,
            height=height,
            max_area=width * height,
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            generator=noise,
            _auto_resize=self.area == 1024 * 1024,
        )
