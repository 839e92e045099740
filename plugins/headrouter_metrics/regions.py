"""Measure the whole picture, its background, and the edited region."""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator

from headrouter.errors import InvalidInputError
from headrouter.experiments.dataset import Mask
from headrouter.experiments.metric import Column, Measure, Measured, Metric, Value
from headrouter_metrics.networks.exact import exact

Region = Literal["whole", "background", "edited"]
Pixels: TypeAlias = npt.NDArray[np.uint8]
Compare: TypeAlias = Callable[[Measured, Mask | None], float | None]
"""Measures an edit where the mask is true, or the whole picture."""


class RegionMetric(Metric):
    """Holds the parameters of a metric of parts of a picture: a column for each."""

    name: ClassVar[str]
    column: ClassVar[Column]
    possible: ClassVar[tuple[Region, ...]] = ("whole", "background", "edited")

    regions: Annotated[
        tuple[Region, ...],
        Field(min_length=1, description="Parts to measure; background and edited region are those of the item's mask."),
    ] = ("whole",)

    @field_validator("regions")
    @classmethod
    def _refuse_impossible(cls, regions: tuple[Region, ...]) -> tuple[Region, ...]:
        if len(set(regions)) < len(regions) or not set(regions) <= set(cls.possible):
            raise ValueError(f"must be different ones of {', '.join(cls.possible)}")
        return regions

    @property
    def needs(self) -> frozenset[str]:
        """Return ``mask`` where a part of the picture is measured."""
        return frozenset({"mask"}) if set(self.regions) != {"whole"} else frozenset()

    @property
    def columns(self) -> Mapping[str, Column]:
        """Return a column for each part."""
        return {
            _column(self.name, region): replace(
                self.column, title=self.column.title if region == "whole" else f"{self.column.title}, {region}"
            )
            for region in self.regions
        }

    @abc.abstractmethod
    def comparison(self, device: torch.device) -> Compare:
        """Load the networks, and return the function that measures one part of one edit."""

    def load(self, device: torch.device) -> Measure:
        """Load the networks, and return the function that measures, one edit after the other."""
        compare = self.comparison(device)

        def measure(edits: Sequence[Measured]) -> list[Mapping[str, Value]]:
            with exact(device):
                return [
                    {_column(self.name, region): compare(edit, part_of(edit, region)) for region in self.regions}
                    for edit in edits
                ]

        return measure


def _column(name: str, region: Region) -> str:
    return name if region == "whole" else f"{name}_{region}"


def part_of(edit: Measured, region: Region) -> Mask | None:
    """Return the places of a part, bool [H, W]; None for the whole picture.

    Raises:
        InvalidInputError: the item has no mask, or one of another size.
    """
    if edit.source.size != edit.edit.size:
        raise InvalidInputError(
            f"{edit.item.key!r}: the edit has {edit.edit.size} pixels, and its source {edit.source.size}."
        )
    if region == "whole":
        return None
    mask = edit.item.mask()
    if mask is None:
        raise InvalidInputError(f"{edit.item.key!r} has no mask; measure the whole picture, `regions: [whole]`.")
    if mask.shape[::-1] != edit.source.size:
        raise InvalidInputError(
            f"{edit.item.key!r}: its mask has {mask.shape[::-1]} pixels, and the picture {edit.source.size}."
        )
    return mask if region == "edited" else ~mask


def arrays_of(edit: Measured) -> tuple[Pixels, Pixels]:
    """Return source and edit, uint8 [H, W, 3]."""
    return np.asarray(edit.source.convert("RGB")), np.asarray(edit.edit.convert("RGB"))


def tensor_of(pixels: Pixels) -> torch.Tensor:
    """Return a picture as float32 [1, 3, H, W] in [0, 1]."""
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]
