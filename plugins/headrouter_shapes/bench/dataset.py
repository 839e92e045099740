"""Provide the benchmark's edits as a data set for experiments, and their measures as a metric."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from headrouter.errors import InvalidInputError
from headrouter.experiments import radar
from headrouter.experiments.dataset import Dataset, Item, Mask
from headrouter.experiments.metric import Column, Measure, Measured, Metric, Value
from headrouter_shapes.bench.measures import measure
from headrouter_shapes.bench.sets import SIZES, Case, Set, chosen_cases, fingerprint
from headrouter_shapes.world.render import changed_region, render

_RADAR: Final = {
    "shape": radar.OBJECT,
    "colour": radar.COLOR,
    "texture": radar.MATERIAL,
    "background": radar.BACKGROUND,
    "style": radar.STYLE,
}


@dataclasses.dataclass(frozen=True)
class ShapesItem(Item):
    """Describes an edit of a drawing; ``case`` has the scenes before and after."""

    case: Case = dataclasses.field(kw_only=True)

    def picture(self) -> Image.Image:
        """Draw the source."""
        return render(self.case.source)

    def mask(self) -> Mask:
        """Return where source and target differ."""
        return changed_region(self.case.source, self.case.target)

    def truth(self) -> Image.Image:
        """Draw the target."""
        return render(self.case.target)


class Shapes(Dataset):
    """Provides edits of drawings, whose right result is known pixel by pixel.

    Attributes:
        set: ``tune`` to choose by, ``test`` to measure with once.
        count: Number of edits, 1 to 400: 80 are the beginning of 400.
        kinds: Only edits of these kinds, of those ``count``; all if empty.
    """

    set: Set = "tune"
    count: int = Field(SIZES["quick"], ge=1, le=SIZES["full"])
    kinds: tuple[str, ...] = ()

    def items(self) -> Sequence[ShapesItem]:
        """Return the edits; four of one drawing come one after the other."""
        return [
            ShapesItem(
                key=case.key,
                picture_key=f"{case.source_number:03d}",
                number=case.source_number,
                kind=case.kind,
                source_prompt=case.source_prompt,
                prompt=case.prompt,
                instruction=case.instruction,
                case=case,
            )
            for case in chosen_cases(self.set, self.count, self.kinds)
        ]

    @property
    def revision(self) -> str:
        """Return the hash of the scenes and captions."""
        return fingerprint(self.set, self.count)[:16]

    @property
    def radar(self) -> dict[str, str]:
        """Return the kinds that have a counterpart; size, position and number of objects have none."""
        return _RADAR


class ShapesMetric(Metric):
    """Measures an edit of a drawing against the drawing that it should be."""

    needs: ClassVar[frozenset[str]] = frozenset({"mask", "truth"})

    @property
    def columns(self) -> Mapping[str, Column]:
        """Return success, its halves, and decibels."""
        decibels = Column("", "dB", "higher", digits=1)
        return {
            "success": Column("success", better="higher"),
            "reads_new": Column("reads new", better="higher"),
            "nearer": Column("nearer to the target", better="higher"),
            "others_unchanged": Column("others unchanged", better="higher"),
            "truth": dataclasses.replace(decibels, title="distance to truth"),
            "preservation": dataclasses.replace(decibels, title="preservation"),
            "preservation_of_successes": dataclasses.replace(
                decibels, title="preservation of successes", given="success"
            ),
            "distance": Column("distance to the nearest drawing", "of 255", "lower", digits=1),
            "read": Column("read"),
        }

    def load(self, device: torch.device) -> Measure:
        """Return the function that measures; it has no network and computes on the CPU."""
        del device
        return _measured


def _measured(edits: Sequence[Measured]) -> list[dict[str, Value]]:
    cases = []
    for edit in edits:
        if not isinstance(edit.item, ShapesItem):
            raise InvalidInputError("`metrics`: 'shapes-1' measures edits of the data set 'shapes' only.")
        cases.append(edit.item.case)
    found = measure(np.stack([np.asarray(edit.edit) for edit in edits]), cases)
    return [
        {
            "success": one.success,
            "reads_new": one.reads_new,
            "nearer": one.nearer,
            "others_unchanged": one.others_unchanged,
            "truth": one.truth,
            "preservation": None if math.isnan(one.preservation) else one.preservation,
            "preservation_of_successes": None if math.isnan(one.preservation) else one.preservation,
            "distance": one.distance,
            "read": ", ".join(f"{name} {value}" for name, value in one.read.items()),
        }
        for one in found
    ]
