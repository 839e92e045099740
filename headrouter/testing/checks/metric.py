"""Check a metric: its columns, and that a value depends on nothing but its edit."""

import math
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace

import torch

from headrouter.experiments.dataset import Item
from headrouter.experiments.metric import Measured, Value
from headrouter.testing.check import check, collect, expect
from headrouter.testing.subjects import MetricSubject

_CLOSE = 1e-5


def _measured(subject: MetricSubject, edits: Sequence[Measured]) -> Sequence[Mapping[str, Value]]:
    return subject.metric.load(torch.device("cpu"))(edits)


def _same(first: Value, second: Value) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=_CLOSE, abs_tol=_CLOSE)
    return first == second


def _expect_same(first: Sequence[Mapping[str, Value]], second: Sequence[Mapping[str, Value]], when: str) -> None:
    for one, other in zip(first, second, strict=True):
        changed = [name for name in one if not _same(one[name], other[name])]
        expect(not changed, f"{', '.join(changed)} differ {when}: {[(one[name], other[name]) for name in changed]}")


@check(since="0.3")
def its_name_has_a_version(subject: MetricSubject) -> None:
    """Its name ends in a version, such as `-1` or `-v1`: stored values stay those of one definition.

    If this fails: register `psnr-1`, and `psnr-2` when it computes something else.
    """
    expect(bool(re.search(r"-v?\d+$", subject.name)), f"the name {subject.name!r} has no version")


@check(since="0.3")
def rows_have_its_columns(subject: MetricSubject) -> None:
    """There is a row for each edit, with its columns, and values that a record can hold: finite numbers, truths, texts, None.

    If this fails: turn numbers of torch and NumPy into `float`; give None where a value is undefined.
    """
    edits = subject.edits()
    rows = _measured(subject, edits)
    expect(len(rows) == len(edits), f"{len(edits)} edits have given {len(rows)} rows")
    for row in rows:
        expect(
            set(row) == set(subject.metric.columns),
            f"its columns are {sorted(subject.metric.columns)}, and a row has {sorted(row)}",
        )
        for name, value in row.items():
            expect(value is None or type(value) in (bool, int, float, str), f"{name} is a {type(value).__name__}")
            expect(not isinstance(value, float) or math.isfinite(value), f"{name} is {value}")


@check(since="0.3")
def measuring_is_a_function(subject: MetricSubject) -> None:
    """Measuring again gives the same values; pictures, random state and the numbers' type stay as they are.

    If this fails: draw nothing from the global random generator; copy an array before changing it.
    """
    edits = subject.edits()
    before = [(edit.source.tobytes(), edit.edit.tobytes()) for edit in edits]
    state, dtype = torch.random.get_rng_state(), torch.get_default_dtype()
    first = _measured(subject, edits)
    expect(torch.equal(torch.random.get_rng_state(), state), "it draws from the global random generator")
    expect(torch.get_default_dtype() == dtype, "it changes the default type of numbers")
    after = [(edit.source.tobytes(), edit.edit.tobytes()) for edit in edits]
    expect(after == before, "it changes the pictures")
    _expect_same(first, _measured(subject, edits), "when measured again")


@check(since="0.3")
def order_is_irrelevant(subject: MetricSubject) -> None:
    """In another order the edits have the same values.

    If this fails: keep no running state between edits; return rows in the order of the edits.
    """
    edits = subject.edits()
    _expect_same(_measured(subject, edits), _measured(subject, edits[::-1])[::-1], "in another order")


@check(since="0.3")
def neighbours_are_irrelevant(subject: MetricSubject) -> None:
    """Alone an edit has the values that it has among others, of other sizes too.

    If this fails: reduce within each picture, not over the batch; put together only pictures of one size.
    """
    edits = subject.edits()
    measure = subject.metric.load(torch.device("cpu"))
    _expect_same(list(measure(edits)), [measure([edit])[0] for edit in edits], "alone")


@check(since="0.3")
def settings_of_the_program_are_irrelevant(subject: MetricSubject) -> None:
    """Under autocast and another default type of numbers the values are the same.

    If this fails: turn autocast off around the networks, and make constants in float32.
    """
    edits = subject.edits()
    measure = subject.metric.load(torch.device("cpu"))
    plain, dtype = list(measure(edits)), torch.get_default_dtype()
    with torch.autocast("cpu", torch.bfloat16):
        _expect_same(plain, list(measure(edits)), "under autocast")
    torch.set_default_dtype(torch.float64)
    try:
        _expect_same(plain, list(measure(edits)), "where numbers are float64")
    finally:
        torch.set_default_dtype(dtype)


@check(since="0.3")
def it_needs_what_it_says(subject: MetricSubject) -> None:
    """Without the parts of an item that `needs` does not name, the values are the same.

    If this fails: name `mask`, `truth` or `source_prompt` in `needs`, with these parameters.
    """
    edits = subject.edits()
    without = [replace(edit, item=_without(edit.item, subject.metric.needs)) for edit in edits]
    _expect_same(_measured(subject, edits), _measured(subject, without), "without what it does not need")


def _without(item: Item, needs: frozenset[str]) -> Item:
    """Return an item of the same class without the mask, truth and source prompt that are not needed."""
    kept = item if "source_prompt" in needs else replace(item, source_prompt="")
    hidden = {name: lambda self: None for name in ("mask", "truth") if name not in needs}
    bare = copy(kept)
    object.__setattr__(bare, "__class__", type(type(item).__name__, (type(item),), {"__slots__": (), **hidden}))
    return bare


@check(since="0.3", requires={"likeness"})
def an_unchanged_picture_is_the_best(subject: MetricSubject) -> None:
    """No edit has a better value than the source itself, in any column of which more or less is better.

    If this fails: look at `better` of the column, and for a sign or a pair that is swapped.
    """
    edits = subject.edits()
    best = _measured(subject, [replace(edit, edit=edit.source) for edit in edits])
    for row, ideal in zip(_measured(subject, edits), best, strict=True):
        for name, column in subject.metric.columns.items():
            value, other = row[name], ideal[name]
            if column.better and isinstance(value, float) and isinstance(other, float):
                sign = 1 if column.better == "higher" else -1
                expect(
                    sign * (other - value) >= -_CLOSE,
                    f"{name} is {other:g} of the source itself, and {value:g} of an edit",
                )


@check(since="0.3")
def it_can_be_checked_without_loading(subject: MetricSubject) -> None:
    """`check` passes where the networks are, and `revision` is a text that stays.

    If this fails: hash the files of the weights, not the object that was loaded.
    """
    subject.metric.check()
    first, again = subject.metric.revision, subject.metric.revision
    expect(isinstance(first, str) and first == again, f"revisions {first!r}, {again!r}")


CHECKS = collect(globals())
