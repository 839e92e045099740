"""Comparisons edit by edit, on rows with known answers."""

import dataclasses

import pytest
from headrouter_shapes.bench.batch import Spent
from headrouter_shapes.bench.measures import Measures
from headrouter_shapes.bench.paired import compare, paired_rows
from headrouter_shapes.bench.records import Row
from headrouter_shapes.bench.report import summarise
from headrouter_shapes.bench.sets import KINDS

from headrouter.errors import InvalidInputError


def rows(name: str, success: list[bool], kept: list[float], truth: float = 20.0) -> list[Row]:
    return [
        Row(
            "sd3.5", name, "0" * 16, "tune", case, case // 4, KINDS[case % 8], "a → b", case // 4,
            Measures(right, right, right, True, truth, decibels, {}, 1.0), Spent(),
        )
        for case, (right, decibels) in enumerate(zip(success, kept, strict=True))
    ]  # fmt: skip


CAREFUL = rows("careful", [True] * 12 + [False] * 4, [30.0] * 12 + [99.0] * 4)
BOLD = rows("bold", [True] * 8 + [False] * 2 + [True] * 6, [31.0] * 16, truth=22.5)


def test_what_is_kept_is_compared_where_both_are_right() -> None:
    found = compare(BOLD, CAREFUL)
    assert (found.configuration, found.baseline) == ("bold", "careful")
    assert (found.preservation.value, found.preservation.count) == (1.0, 10)
    assert found.success.value == pytest.approx((4 - 2) / 16)
    assert found.success.low < found.success.value < found.success.high
    assert (found.truth.value, found.truth.low, found.truth.high) == (2.5, 2.5, 2.5)


def test_the_comparison_is_antisymmetric() -> None:
    one, other = compare(BOLD, CAREFUL), compare(CAREFUL, BOLD)
    assert (one.success.low, one.preservation.value) == pytest.approx((-other.success.high, -other.preservation.value))


def test_failures_that_keep_everything_do_not_count_as_careful() -> None:
    careful, bold = summarise(CAREFUL + BOLD)
    assert careful.preservation.value > bold.preservation.value
    assert (careful.preservation_of_successes.value, bold.preservation_of_successes.value) == (30.0, 31.0)
    assert careful.preservation_of_successes.count == 12


def test_only_the_same_edits_are_compared() -> None:
    with pytest.raises(InvalidInputError, match="same edits"):
        compare(BOLD[:-1], CAREFUL)
    with pytest.raises(InvalidInputError, match="same edits"):
        compare(BOLD, [dataclasses.replace(row, case=row.case + 1) for row in CAREFUL])


def test_everything_but_the_bounds_is_compared() -> None:
    bounds = [dataclasses.replace(row, configuration="reference target") for row in BOLD]
    found = paired_rows([*bounds, *CAREFUL, *BOLD], "careful")
    assert [one.configuration for one in found["sd3.5"]] == ["bold"]
