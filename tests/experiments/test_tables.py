"""Summaries, paired differences and tables, on rows with known answers."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from headrouter.errors import InvalidInputError
from headrouter.experiments.metric import Column, Value
from headrouter.experiments.results.paired import compare, compare_all
from headrouter.experiments.results.plots import axes_of
from headrouter.experiments.results.summary import summarise
from headrouter.experiments.results.tables import as_csv, markdown

KINDS = ("shape", "colour", "texture", "background")
COLUMNS = {
    "m-1.success": Column("success", better="higher"),
    "m-1.kept": Column("preservation", "dB", "higher", digits=1),
    "m-1.kept_of_successes": Column("preservation of successes", "dB", "higher", digits=1, given="success"),
    "m-1.truth": Column("distance to truth", "dB", "higher", digits=1),
    "m-1.read": Column("read"),
}
RATES = {"m-1.success"}


@dataclass(frozen=True)
class Result:
    backbone: str
    configuration: str
    item: str
    picture: str
    kind: str
    seed: int
    values: Mapping[str, Value]
    spent: Mapping[str, float] = field(
        default_factory=lambda: {"calls": 56.0, "rows": 70.0, "seconds": 1.0, "processor": 0.5}
    )


def rows(name: str, success: list[bool], kept: list[float], truth: float = 20.0, seed: int = 0) -> list[Result]:
    return [
        Result(
            "sd3.5", name, f"{case:03d}", f"{case // 4:03d}", KINDS[case % 4], seed,
            {"m-1.success": right, "m-1.kept": decibels, "m-1.kept_of_successes": decibels, "m-1.truth": truth,
             "m-1.read": "a star"},
        )
        for case, (right, decibels) in enumerate(zip(success, kept, strict=True))
    ]  # fmt: skip


CAREFUL = rows("careful", [True] * 12 + [False] * 4, [30.0] * 12 + [99.0] * 4)
BOLD = rows("bold", [True] * 8 + [False] * 2 + [True] * 6, [31.0] * 16, truth=22.5)


def test_what_is_kept_is_compared_where_both_are_right() -> None:
    found = compare(BOLD, CAREFUL, COLUMNS).values
    kept, success, truth = (found[f"m-1.{name}"] for name in ("kept_of_successes", "success", "truth"))
    assert (kept.value, kept.count) == (1.0, 10)
    assert success.value == pytest.approx((4 - 2) / 16) and success.low < success.value < success.high
    assert (truth.value, truth.low, truth.high) == (2.5, 2.5, 2.5)
    assert "m-1.read" not in found


def test_the_comparison_is_antisymmetric() -> None:
    one, other = compare(BOLD, CAREFUL, COLUMNS).values, compare(CAREFUL, BOLD, COLUMNS).values
    assert one["m-1.success"].low == pytest.approx(-other["m-1.success"].high)
    assert one["m-1.kept"].value == pytest.approx(-other["m-1.kept"].value)


def test_failures_that_keep_everything_do_not_count_as_careful() -> None:
    careful, bold = (one.values for one in summarise([*CAREFUL, *BOLD], COLUMNS))
    assert careful["m-1.kept"].value > bold["m-1.kept"].value
    assert (careful["m-1.kept_of_successes"].value, bold["m-1.kept_of_successes"].value) == (30.0, 31.0)
    assert careful["m-1.kept_of_successes"].count == 12


def test_only_the_same_edits_are_compared() -> None:
    for other in (BOLD[:-1], [replace(row, seed=1) for row in BOLD], []):
        with pytest.raises(InvalidInputError, match="same edits"):
            compare(other, CAREFUL, COLUMNS)


def test_another_editor_is_compared_with_the_only_baseline_in_the_edits_that_both_have() -> None:
    other = [replace(row, backbone="", configuration="pix2pix") for row in BOLD[:-4]]
    found = {one.configuration: one for one in compare_all([*CAREFUL, *BOLD, *other], "careful", COLUMNS)}
    assert set(found) == {"bold", "pix2pix"} and found["pix2pix"].values["m-1.truth"].count == 12
    flux = [replace(row, backbone="flux") for row in CAREFUL]
    several = compare_all([*CAREFUL, *BOLD, *flux, *other], "careful", COLUMNS)
    assert [one.configuration for one in several] == ["bold"]  # two baselines: neither is the other editor's


def test_seeds_of_a_picture_stay_together_and_have_a_spread_of_their_own() -> None:
    again = [replace(row, seed=1, values={**row.values, "m-1.truth": 24.0}) for row in CAREFUL]
    (alone,), (twice,) = summarise(CAREFUL, COLUMNS), summarise([*CAREFUL, *again], COLUMNS)
    assert twice.values["m-1.truth"].value == 22.0 and twice.over_seeds["m-1.truth"] == pytest.approx(8**0.5)
    assert alone.over_seeds["m-1.truth"] != alone.over_seeds["m-1.truth"]  # NaN
    narrow, same = alone.values["m-1.success"], twice.values["m-1.success"]
    assert (same.low, same.high) == pytest.approx((narrow.low, narrow.high), abs=0.02)  # no new pictures, no narrower


def test_undefined_values_are_left_out_of_means() -> None:
    gone = [replace(row, values={**row.values, "m-1.kept": None}) for row in CAREFUL[12:]]
    (found,) = summarise([*CAREFUL[:12], *gone], COLUMNS)
    assert (found.values["m-1.kept"].value, found.values["m-1.kept"].count) == (30.0, 12)


def test_the_tables_say_it_in_per_cent_and_decibels() -> None:
    summaries = summarise([*CAREFUL, *BOLD], COLUMNS)
    text = markdown(summaries, COLUMNS, RATES, "Title", compare_all([*CAREFUL, *BOLD], "careful", COLUMNS))
    assert (
        "| # | configuration | success | preservation, dB | preservation of successes, dB | distance to truth, dB |"
        in text
    )
    assert (
        "| 2 | bold | 88 [" in text
        and "] | 31.0 [31.0, 31.0] | 31.0 [31.0, 31.0] | 22.5 [22.5, 22.5] | 56 | 70 |" in text
    )
    assert (
        "success by kind of edit, sd3.5:" in text
        and "| # | configuration | shape | colour | texture | background |" in text
    )
    assert "Minus careful, edit by edit, sd3.5:" in text and "| bold | 12.5 [" in text and "success, points" in text


def test_names_do_not_break_a_table() -> None:
    (line,) = [
        line
        for line in markdown(
            summarise([replace(CAREFUL[0], configuration="a|b\n<i>")], COLUMNS), COLUMNS, RATES, "x"
        ).splitlines()
        if "a\\|b <i>" in line and "30.0" in line
    ]
    assert line.startswith("| 1 | a\\|b <i> |")


def test_csv_has_every_number() -> None:
    read = list(csv.DictReader(io.StringIO(as_csv(summarise(CAREFUL, COLUMNS), COLUMNS))))
    assert {row["kind"] for row in read} == {"all", *KINDS}
    (truth,) = [row for row in read if row["kind"] == "all" and row["column"] == "m-1.truth"]
    assert (float(truth["mean"]), truth["count"], truth["between seeds"]) == (20.0, "16", "nan")
    assert float(next(row for row in read if row["column"] == "rows")["mean"]) == 70


def test_several_data_sets_as_one_have_a_mean_each() -> None:
    """Those of a set are the means of its edits alone; kinds without a set, and a single set, have no such tables."""
    apart = [replace(row, kind=f"{'pie' if row.item < '008' else 'ted'}: {row.kind}") for row in CAREFUL]
    (one,), (pie,) = summarise(apart, COLUMNS), summarise(apart[:8], COLUMNS)
    assert list(one.by_set) == ["pie", "ted"] and one.by_set["pie"] == pie.values and not pie.by_set
    assert not summarise([*apart, *CAREFUL[:1]], COLUMNS)[0].by_set and not summarise(CAREFUL, COLUMNS)[0].by_set
    text = markdown([one], COLUMNS, RATES, "Title")
    assert "\npie, 8 edits, sd3.5:\n\n| # | configuration | success |" in text and "\nted, 8 edits, sd3.5:\n" in text
    read = list(csv.DictReader(io.StringIO(as_csv([one], COLUMNS))))
    (mean,) = [row["mean"] for row in read if row["kind"] == "ted: all" and row["column"] == "m-1.success"]
    assert float(mean) == 0.5


def test_the_plot_has_the_edit_across_and_preservation_up() -> None:
    assert axes_of(COLUMNS, RATES) == ("m-1.success", "m-1.kept")
    assert axes_of({"m-1.success": COLUMNS["m-1.success"]}, RATES) is None
