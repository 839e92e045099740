"""Edit by LEDITS++ on Stable Diffusion, arXiv:2311.16711."""

from typing import Any, ClassVar

import torch
from PIL import Image
from pydantic import Field

from headrouter.experiments.other_editor import EditRequest
from headrouter_editors.pipelines import PipelineEditor


class LeditsPP(PipelineEditor):
    """Holds the parameters of LEDITS++, whose edit is the target prompt as one concept; the defaults are diffusers'.

    Attributes:
        steps: Steps of the inversion.
        skip: Share of the first steps that is left out; more keeps more of the picture.
        guidance: Weight of the edit.
        threshold: Share of the latents that the edit leaves alone.
        source_guidance: Weight of the source prompt while inverting.
        remove_source: Whether the source prompt is a second concept, which the edit leads away from.
    """

    model: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    steps: int = Field(50, ge=2, le=10_000)
    skip: float = Field(0.15, ge=0, lt=1)
    guidance: float = Field(5.0, ge=0, lt=1000)
    threshold: float = Field(0.9, gt=0, lt=1)
    source_guidance: float = Field(3.5, ge=1, lt=1000)
    remove_source: bool = False

    pipeline: ClassVar[str] = "LEditsPPPipelineStableDiffusion"
    of_folders: ClassVar[tuple[str, ...]] = ("StableDiffusionPipeline",)
    multiple: ClassVar[int] = 32

    @property
    def needs(self) -> frozenset[str]:
        """Return the texts that it edits by."""
        return frozenset({"source_prompt"} if self.remove_source else ())

    def run(self, pipeline: Any, picture: Image.Image, asked: EditRequest, noise: torch.Generator) -> Any:
        """Run the pipeline on a picture of the size to work at, and return its output."""
        pipeline.invert(
            image=picture,
            source_prompt=asked.source_prompt,
            source_guidance_scale=self.source_guidance,
            num_inversion_steps=self.steps,
            skip=self.skip,
            generator=noise,
        )
        concepts = [asked.prompt, asked.source_prompt] if self.remove_source else [asked.prompt]
        return pipeline(
            editing_prompt=concepts,
            reverse_editing_direction=[False, True][: len(concepts)],
            edit_guidance_scale=[self.guidance] * len(concepts),
            edit_threshold=[self.threshold] * len(concepts),
            generator=noise,
        )
