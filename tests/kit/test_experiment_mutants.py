"""Data sets and metrics with one mistake each are found, by the check meant for it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image

from headrouter.experiments.dataset import Dataset, Item
from headrouter.experiments.metric import Column, Measured, Metric
from headrouter.testing import DatasetConformance, DatasetSubject, MetricConformance, MetricSubject, checks
from headrouter.testing.check import run


@dataclass(frozen=True, kw_only=True)
class Flat(Item):
    grey: int = 100
    mode: str = "RGB"
    size: tuple[int, int] = (24, 20)

    def picture(self):
        return Image.new("RGB", self.size, (self.grey, 0, 255 - self.grey)).convert(self.mode)

    def mask(self):
        inside = np.zeros(self.size[::-1], dtype=bool)
        inside[5:10, 5:10] = True
        return inside

    def truth(self):
        return Image.new("RGB", self.size)


def flat(key, picture, number, **more):
    return Flat(
        key=key, picture_key=picture, number=number, kind="color", source_prompt="a cat", prompt=f"a {key} dog", **more
    )


ITEMS = (flat("a-1", "a", 0), flat("a-2", "a", 0), flat("b-1", "b", 1, grey=30, size=(30, 30)))
DATA = {"grey": 100, "count": 0}


class Right(Dataset):
    def items(self):
        return tuple(replace(item, grey=DATA["grey"] + item.number) for item in ITEMS)

    @property
    def revision(self):
        return f"r{DATA['grey']}"


def other(*changes, **more):
    """A data set whose items are changed: a pair of a place and new values, or values for all."""

    class Other(Right):
        def items(self):
            items = [replace(item, **more) for item in super().items()]
            for place, values in changes:
                items[place] = replace(items[place], **values)
            return tuple(items)

    return Other


class Apart(Right):
    def items(self):
        first, second, third = super().items()
        return first, third, second


class NameOfData(Right):
    @property
    def revision(self):
        return "data-v1"


class Random(Right):
    @property
    def revision(self):
        return str(np.random.default_rng().random())


class Wheel(Right):
    @property
    def radar(self):
        return {f"kind{number}": f"kind{number}" for number in range(9)}


class WrongMask(Flat):
    def mask(self):
        return super().mask().T


class Levels(Flat):
    def mask(self):
        return super().mask().astype(np.uint8)


class Truthless(Flat):
    def truth(self):
        return Image.new("RGB", (9, 9))


def of_class(kind):
    class Other(Right):
        def items(self):
            return tuple(kind(**vars(item)) for item in super().items())

    return Other


def subject(kind):
    def change():
        DATA["grey"] += 1

    return DatasetSubject("photos", kind, change)


class TestTheRightDataset(DatasetConformance):
    @pytest.fixture
    def dataset(self):
        return subject(Right)


@pytest.mark.parametrize(
    ("kind", "check", "says"),
    [
        (other((1, {"key": "A-1"})), "keys_name_files", "a-1 are there twice"),
        (other((1, {"key": "a/2"})), "keys_name_files", "'a/2' cannot name a file"),
        (other((2, {"prompt": " "})), "items_have_texts", "b-1: its prompt is empty"),
        (other(kind=""), "items_have_texts", "its kind is empty"),
        (other(instruction=None), "items_have_texts", "a text is none"),
        (Apart, "edits_of_a_picture_belong_together", "do not follow each other"),
        (other((1, {"source_prompt": "a dog"})), "edits_of_a_picture_belong_together", "several source prompts"),
        (other((1, {"number": 1})), "edits_of_a_picture_belong_together", "several numbers"),
        (other(number=0), "edits_of_a_picture_belong_together", "a and b have the same number"),
        (other(mode="L"), "pictures_and_masks_fit", "its picture is L"),
        (other((1, {"grey": 3})), "pictures_and_masks_fit", "another than that of a-1"),
        (of_class(WrongMask), "pictures_and_masks_fit", "its mask has the shape (24, 20)"),
        (of_class(Levels), "pictures_and_masks_fit", "no array of truth values"),
        (of_class(Truthless), "pictures_and_masks_fit", "its truth is RGB of (9, 9)"),
        (Random, "reading_is_a_function", "revisions"),
        (NameOfData, "the_revision_changes_with_the_data", "is the same after the data has changed"),
        (Wheel, "kinds_of_the_radar_chart_are_eight_at_most", "has 9 kinds"),
    ],
)
def test_a_wrong_data_set_is_found(kind, check, says):
    found(checks.dataset.CHECKS, check, subject(kind), says)


def found(every, name, under, says):
    (check,) = (each for each in every if each.name == name)
    result = run(check, under)
    assert result.outcome == "failed" and says in result.message, result


def drawn(number, size):
    pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    source = Image.fromarray(pixels)
    edited = pixels.copy()
    edited[3:12, 4:9] //= 2
    return Measured(flat(f"e{number}", f"p{number}", number, size=size), source, Image.fromarray(edited))


EDITS = [drawn(0, (24, 20)), drawn(1, (30, 30)), drawn(2, (24, 20))]


class Distance(Metric):
    """The mean absolute difference of pixels, done right."""

    @property
    def columns(self) -> Mapping[str, Column]:
        return {"distance": Column("distance", better="lower")}

    def value(self, edit):
        return float(np.abs(np.asarray(edit.source, dtype=float) - np.asarray(edit.edit)).mean())

    def load(self, device):
        return lambda edits: [{"distance": self.value(edit)} for edit in edits]


class Unnamed(Distance):
    def load(self, device):
        return lambda edits: [{"l1": self.value(edit)} for edit in edits]


class OneForAll(Distance):
    def load(self, device):
        return lambda edits: [{"distance": self.value(edits[0])}]


class NumPys(Distance):
    def value(self, edit):
        return np.float64(super().value(edit))


class Infinite(Distance):
    def value(self, edit):
        return float("inf")


class Sampled(Distance):
    def value(self, edit):
        return super().value(edit) + float(torch.rand(()))


class Writes(Distance):
    def value(self, edit):
        edit.edit.putpixel((0, 0), (0, 0, 0))
        return super().value(edit)


class Running(Distance):
    def load(self, device):
        def measure(edits):
            values = np.cumsum([self.value(edit) for edit in edits]) / np.arange(1, len(edits) + 1)
            return [{"distance": float(value)} for value in values]

        return measure


class OverTheBatch(Distance):
    def load(self, device):
        def measure(edits):
            values = [self.value(edit) for edit in edits]
            return [{"distance": value - sum(values) / len(values)} for value in values]

        return measure


class Shortened(Distance):
    def value(self, edit):
        return float(torch.full((1, 3), super().value(edit) / 3.3) @ torch.ones(3, 1))


class Secretive(Distance):
    def value(self, edit):
        mask = edit.item.mask()
        pixels = np.asarray(edit.edit, dtype=float) - np.asarray(edit.source)
        return float(np.abs(pixels if mask is None else pixels[mask]).mean())


class Backwards(Distance):
    def value(self, edit):
        return -super().value(edit)


class Unsteady(Distance):
    @property
    def revision(self):
        return str(np.random.default_rng().random())


def metric_subject(kind, name="distance-1"):
    return MetricSubject(name, kind(), lambda: [replace(edit, edit=edit.edit.copy()) for edit in EDITS])


class TestTheRightMetric(MetricConformance):
    @pytest.fixture
    def metric(self):
        return metric_subject(Distance)


@pytest.mark.parametrize(
    ("kind", "check", "says"),
    [
        (Unnamed, "rows_have_its_columns", "a row has ['l1']"),
        (OneForAll, "rows_have_its_columns", "3 edits have given 1 rows"),
        (NumPys, "rows_have_its_columns", "distance is a float64"),
        (Infinite, "rows_have_its_columns", "distance is inf"),
        (Sampled, "measuring_is_a_function", "global random generator"),
        (Writes, "measuring_is_a_function", "it changes the pictures"),
        (Running, "order_is_irrelevant", "in another order"),
        (OverTheBatch, "neighbours_are_irrelevant", "alone"),
        (Shortened, "settings_of_the_program_are_irrelevant", "under autocast"),
        (Secretive, "it_needs_what_it_says", "without what it does not need"),
        (Backwards, "an_unchanged_picture_is_the_best", "of the source itself"),
        (Unsteady, "it_can_be_checked_without_loading", "revisions"),
    ],
)
def test_a_wrong_metric_is_found(kind, check, says):
    found(checks.metric.CHECKS, check, metric_subject(kind), says)


def test_a_name_without_a_version_is_found():
    found(
        checks.metric.CHECKS,
        "its_name_has_a_version",
        metric_subject(Distance, "distance"),
        "'distance' has no version",
    )
