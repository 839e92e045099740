"""Edit by Qwen-Image-Edit, arXiv:2508.02324."""

from typing import Any, ClassVar, Final

import torch
from PIL import Image
from pydantic import Field, field_validator

from headrouter.experiments.other_editor import EditRequest
from headrouter_editors.pipelines import InstructedEditor

_AREA: Final = 1024 * 1024


class QwenImageEdit(InstructedEditor):
    """Holds the parameters of Qwen-Image-Edit; the defaults are diffusers'.

    Attributes:
        area: Pixels to work at: those of its training pictures, which the pipeline brings every picture to.
        steps: Steps of the pipeline.
        guidance: Weight of the instruction against the negative prompt.
        negative_prompt: Prompt from which guidance steers away.
    """

    model: str = "Qwen/Qwen-Image-Edit"
    area: int = _AREA
    steps: int = Field(50, ge=1, le=10_000)
    guidance: float = Field(4.0, ge=1, lt=1000)
    negative_prompt: str = " "

    @field_validator("area")
    @classmethod
    def _is_the_pipelines_own(cls, area: int) -> int:
        if area != _AREA:
            raise ValueError(f"must be {_AREA}, which this pipeline brings every picture to")
        return area

    pipeline: ClassVar[str] = "QwenImageEditPipeline"
    multiple: ClassVar[int] = 32
    packages: ClassVar[tuple[str, ...]] = ("torchvision",)

    def run(self, pipeline: Any, picture: Image.Image, asked: EditRequest, noise: torch.Generator) -> Any:
        """Run the pipeline on a picture of the size to work at, and return its output."""
        return pipeline(
            image=picture,
            prompt=self.asked(asked),
            negative_prompt=self.negative_prompt if self.guidance > 1 else None,
            true_cfg_scale=self.guidance,
            num_inference_steps=self.steps,
            generator=noise,
        )
