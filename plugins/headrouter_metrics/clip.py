"""Measure by CLIP (arXiv:2103.00020): agreement with the text, likeness, and direction of change."""

import abc
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from headrouter.experiments.dataset import Mask
from headrouter.experiments.metric import Column, Measure, Measured, Metric, Value
from headrouter_metrics.networks.clip import RELEASED, Clip, clip_folder, cosine, load_clip
from headrouter_metrics.networks.exact import exact
from headrouter_metrics.networks.files import folder_revision
from headrouter_metrics.regions import Compare, Pixels, Region, RegionMetric, arrays_of

Model = Annotated[str, Field(description="CLIP model in the form of transformers, OpenCLIP's too: hub id or folder.")]


def only(pixels: Pixels, where: Mask) -> Image.Image:
    """Return a picture that is black where the mask is false."""
    return Image.fromarray(np.where(where[..., None], pixels, 0).astype(np.uint8))


class ClipText(RegionMetric):
    """Holds the parameters of CLIP-T: 100 · cos(picture, text of the edit); of the edited region, the rest is black."""

    name: ClassVar[str] = "clip_t"
    column: ClassVar[Column] = Column("CLIP-T", "", "higher")
    possible: ClassVar[tuple[Region, ...]] = ("whole", "edited")

    model: Model = RELEASED

    @property
    def revision(self) -> str:
        """Return a hash of the model's files."""
        return folder_revision(clip_folder(self.model))

    def check(self) -> None:
        """Look for the model."""
        clip_folder(self.model)

    def comparison(self, device: torch.device) -> Compare:
        """Load the model, and return the function that measures."""
        clip = load_clip(clip_folder(self.model), device)

        def compare(edit: Measured, where: Mask | None) -> float | None:
            if where is None:
                return clip.agreement(edit.edit, edit.item.prompt)
            return clip.agreement(only(arrays_of(edit)[1], where), edit.item.prompt) if where.any() else None

        return compare


class _ClipMetric(Metric):
    name: ClassVar[str]
    column: ClassVar[Column]

    model: Model = RELEASED

    @property
    def columns(self) -> Mapping[str, Column]:
        """Return the one column."""
        return {self.name: self.column}

    @property
    def revision(self) -> str:
        """Return a hash of the model's files."""
        return folder_revision(clip_folder(self.model))

    def check(self) -> None:
        """Look for the model."""
        clip_folder(self.model)

    @abc.abstractmethod
    def value(self, clip: Clip, edit: Measured) -> float:
        """Return the value of one edit."""

    def load(self, device: torch.device) -> Measure:
        """Load the model, and return the function that measures, one edit after the other."""
        clip = load_clip(clip_folder(self.model), device)

        def measure(edits: Sequence[Measured]) -> list[Mapping[str, Value]]:
            with exact(device):
                return [{self.name: self.value(clip, edit)} for edit in edits]

        return measure


class ClipImage(_ClipMetric):
    """Holds the parameters of CLIP-I: cos(source, edit), from -1 to 1."""

    name: ClassVar[str] = "clip_i"
    column: ClassVar[Column] = Column("CLIP-I", "", "higher", digits=4)

    def value(self, clip: Clip, edit: Measured) -> float:
        """Return the value of one edit."""
        return cosine(clip.picture(edit.source), clip.picture(edit.edit))


class ClipDirectional(_ClipMetric):
    """Holds the parameters of the directional agreement, arXiv:2108.00946.

    cos(e(edit) - e(source), t(prompt) - t(source prompt)), embeddings of length 1; from -1 to 1, and 0 where nothing changed.
    """

    name: ClassVar[str] = "clip_directional"
    column: ClassVar[Column] = Column("CLIP directional", "", "higher", digits=4)

    @property
    def needs(self) -> frozenset[str]:
        """Return ``source_prompt``."""
        return frozenset({"source_prompt"})

    def value(self, clip: Clip, edit: Measured) -> float:
        """Return the value of one edit."""
        picture = clip.picture(edit.edit) - clip.picture(edit.source)
        text = clip.text(edit.item.prompt) - clip.text(edit.item.source_prompt)
        return cosine(*(torch.nn.functional.normalize(change, dim=-1) for change in (picture, text)))
