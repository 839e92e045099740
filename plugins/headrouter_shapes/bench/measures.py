"""Measure an edit against the drawing that it should be."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from headrouter.errors import InvalidInputError
from headrouter.imaging.picture import psnr
from headrouter_shapes.bench.sets import Case
from headrouter_shapes.world.oracle import Reading, read
from headrouter_shapes.world.render import CAP, changed_region, render_array

Pictures = npt.NDArray[np.uint8]
SMALLEST_REGION: Final = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Measures:
    """Holds the measures of one edit.

    Attributes:
        success: The oracle reads the new value, and inside the changed region the picture is nearer to the target than
            to the source, by mean squared error.
        reads_new: The oracle reads the new value.
        nearer: Inside the changed region the picture is nearer to the target.
        others_unchanged: The oracle reads all seven other semantics as they were.
        truth: PSNR of the whole picture to the true target, dB, at most 99.
        preservation: PSNR to the source outside the changed region, dB, at most 99; NaN where less than a token of the model,
            64 pixels, is outside (another background of a drawing in thin lines).
        read: Values that the oracle reads, by semantic.
        distance: Root mean square difference to the nearest drawing, of 255.
    """

    success: bool
    reads_new: bool
    nearer: bool
    others_unchanged: bool
    truth: float
    preservation: float
    read: dict[str, str]
    distance: float


def measure(pictures: Pictures, cases: Sequence[Case]) -> list[Measures]:
    """Measure edited pictures, uint8 [B, 64, 64, 3], one for each case.

    Raises:
        InvalidInputError: not as many pictures as cases, or of another shape or type.
    """
    readings = read(pictures)
    if len(pictures) != len(cases):
        raise InvalidInputError(f"`pictures` must be one for each of the {len(cases)} cases (got {len(pictures)}).")
    sources, targets = render_array([case.source for case in cases]), render_array([case.target for case in cases])
    return [_measure(*one) for one in zip(pictures, sources, targets, readings, cases, strict=True)]


def _measure(picture: Pictures, source: Pictures, target: Pictures, reading: Reading, case: Case) -> Measures:
    region = changed_region(case.source, case.target)
    reads_new = reading.attributes[case.kind] == getattr(case.target, case.kind)
    nearer = _error(picture[region], target[region]) < _error(picture[region], source[region])
    others = {name: value for name, value in case.source.attributes.items() if name != case.kind}
    outside = picture[~region], source[~region]
    return Measures(
        success=reads_new and nearer,
        reads_new=reads_new,
        nearer=nearer,
        others_unchanged=all(reading.attributes[name] == value for name, value in others.items()),
        truth=psnr(picture, target, most=CAP),
        preservation=math.nan if (~region).sum() < SMALLEST_REGION else psnr(*outside, most=CAP),
        read=reading.attributes,
        distance=reading.distance,
    )


def _error(first: Pictures, second: Pictures) -> float:
    return float(np.square(first.astype(np.float64) - second).mean())
