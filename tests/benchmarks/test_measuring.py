"""The figures mean what they say: turns, medians, memory, goals, errors."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks import timing
from benchmarks.figure import Figure, attempt, number, records, table
from benchmarks.memory import peak_bytes
from benchmarks.timing import Spell, Times, alternate, spell

MIB = 2**20


def test_cases_run_in_turns_each_round_beginning_with_another():
    order, told = [], []
    cases = {name: lambda name=name: order.append(name) for name in "abc"}
    times = alternate(cases, 2, warm_up=1, progress=told.append)
    assert "".join(order) == "cab" + "abc" + "bca"
    assert len(times.rounds) == 2 and len(told) == 3
    assert told[-1].startswith("round 2 of 2: a ")


def test_work_is_what_the_processor_did_and_wall_what_the_clock_said(monkeypatch):
    clocks = SimpleNamespace(perf_counter=iter([10.0, 13.0]).__next__, process_time=iter([5.0, 5.5]).__next__)
    monkeypatch.setattr(timing, "time", clocks)
    assert spell(lambda: None, torch.device("cpu")) == Spell(wall=3.0, work=0.5)


def test_an_accelerators_work_is_what_the_clock_said(monkeypatch):
    waits = []
    clocks = SimpleNamespace(perf_counter=iter([10.0, 13.0]).__next__, process_time=iter([5.0, 5.5]).__next__)
    monkeypatch.setattr(timing, "time", clocks)
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    assert spell(lambda: None, torch.device("cuda:1")) == Spell(wall=3.0, work=3.0)
    assert len(waits) == 2, "before and after, since work is queued"


def test_ratios_and_differences_are_taken_within_a_round():
    rounds = [{"a": Spell(2, 1), "b": Spell(4, 2)}, {"a": Spell(10, 10), "b": Spell(10, 30)}]
    times = Times(tuple(rounds))
    assert times.ratios("b", "a") == [2, 3]
    assert times.ratios("b", "a", "wall") == [2, 1]
    assert times.added("b", "a") == [1, 20]
    assert times.seconds("b") == 16


def test_peak_memory_sees_a_known_allocation_and_its_release():
    kept = []

    def one_after_the_other():
        torch.empty(4 * MIB, dtype=torch.uint8)
        kept.append(torch.empty(3 * MIB, dtype=torch.uint8))

    def together():
        temporary = torch.empty(4 * MIB, dtype=torch.uint8)
        kept.append(torch.empty(3 * MIB, dtype=torch.uint8))
        del temporary

    assert peak_bytes(one_after_the_other) == 4 * MIB
    assert peak_bytes(together) == 7 * MIB


def test_peak_memory_does_not_count_what_was_there_before():
    before = torch.zeros(MIB)
    assert peak_bytes(before.neg) == 4 * MIB


def test_a_figure_is_the_median_with_its_quartiles_and_knows_its_goal():
    figure = Figure.of("x", [1.0, 2.0, 3.0, 4.0, 100.0], goal=("≤", 3))
    assert (figure.value, figure.spread, figure.met) == (3, (2, 4), True)
    assert Figure.of("x", [2.0]).spread == (2, 2)
    assert Figure("x", 3.1, goal=("≤", 3)).met is False
    assert Figure("x", 3.1, goal=("≥", 3)).met is True
    assert Figure("x", 0.0, "", goal=("=", 0)).met is True and Figure("x", 1.0, "", goal=("=", 0)).met is False
    assert Figure("x", 3.1).met is None
    assert Figure("x", error="E: no").met is False and Figure("x", goal=("≤", 3)).met is False


def test_what_fails_becomes_a_row_after_the_figures_that_came_before():
    def measure():
        yield Figure("first", 1.0)
        raise ZeroDivisionError("no\nmore")

    first, second = attempt("all", measure)
    assert first.value == 1
    assert (second.what, second.error) == ("all", "ZeroDivisionError: no")


def test_a_table_says_everything_and_records_come_back():
    figures = [
        Figure("fast", 1.0234, spread=(1.01, 1.5), goal=("≤", 1.1), note="2 rounds"),
        Figure("a|b", 12.345, "GiB"),
        Figure("broken", error="E: no"),
    ]
    lines = table(figures).splitlines()
    assert lines[2] == "| fast; 2 rounds | 1.023 × | 1.01 to 1.5 | ≤ 1.1 | yes |"
    assert lines[3] == "| a\\|b | 12.3 GiB |  |  |  |"
    assert lines[4] == "| broken | error: E: no |  |  | no |"
    assert [record["met"] for record in records(figures)] == [True, None, False]
    assert [Figure.from_record(record) for record in records(figures)] == figures


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1.0234, "1.023"), (0.5678, "0.568"), (12.345, "12.3"), (1234.5, "1234"), (1e-4, "0.0001")],
)
def test_numbers(value: float, text: str):
    assert number(value) == text
