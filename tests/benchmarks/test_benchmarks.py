"""Each benchmark runs at a tiny size and writes what it measured; no figure's size is asserted."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import edits, models, page, refinement, startup, steering, steps, stopwatch, threads, timing, together
from benchmarks.figure import Figure
from benchmarks.memory import peak_bytes
from benchmarks.timing import Spell
from benchmarks.traffic import Traffic
from headrouter.editing.batch import Batch
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.head_router.token_weights import refined_output_reference

ROOT = Path(__file__).parents[2]


def silent(line: str) -> None:
    """Show no progress."""


class Clock:
    """Time as it is told: a second passes at each look, and whatever else is added."""

    def __init__(self):
        self.now = 0.0

    def look(self):
        self.now += 1
        return self.now

    perf_counter = process_time = look


def test_a_slow_method_raises_the_ratio(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    monkeypatch.setattr(stopwatch, "spin", lambda seconds: setattr(clock, "now", clock.now + 10))
    forward = models.forward(models.flux(models.TINY, torch.float32), models.TINY)
    (fast,) = steering.compare(forward, "x", 3)
    (slow,) = steering.compare(forward, "x", 3, method=stopwatch.Slow())
    sites = len(forward.backbone.sites)
    assert fast.value == 1 and fast.met is True
    assert slow.value == (2 + 10 * sites) / 2 and slow.goal == ("≤", 1.1) and slow.met is False


def test_steering_measures_the_real_thing_at_both_precisions():
    """The same rows and one call each; steered, the edit differs and the source does not."""
    forward = models.forward(models.flux(models.TINY, torch.float32), models.TINY)
    plain, steered = forward(), forward(HeadRouter())
    assert [(run.cost.calls, run.cost.rows, len(run.rows)) for run in (plain, steered)] == [(1, 2, 2)] * 2
    assert torch.equal(plain.latents[0], steered.latents[0])
    assert (plain.latents[1] - steered.latents[1]).abs().max() > 1e-3
    figures = list(steering.measure(silent, size=models.TINY, rounds=1))
    assert [figure.what for figure in figures] == [
        f"HeadRouter, {name}, 4 heads, 24 + 36 tokens, over plain" for name in ("bfloat16", "float32")
    ]
    assert all(figure.goal == ("≤", 1.10) and "on the clock" in figure.note for figure in figures)


def test_the_full_size_is_the_released_one():
    block, flux = models.FLUX_BLOCK, models.FLUX_DEV
    assert (block.heads, block.width, block.image, block.text) == (24, 128, 4096, 512)
    with torch.device("meta"):
        transformer = models.flux_transformer(flux)
        medium = models.sd35_transformer(models.SD35_MEDIUM)
    assert sum(parameter.numel() for parameter in transformer.parameters()) == 11_901_408_320
    assert sum(parameter.numel() for parameter in medium.parameters()) == pytest.approx(2.24e9, rel=0.02)


def test_what_refinement_compares_is_equation_20():
    method = HeadRouter(gamma=0, rho=0, keys="words")
    given = refinement.attention(models.TARGET, models.TINY, torch.float32, "cpu")
    positions = given.row.prompt.positions
    assert len(positions) == 16
    tensors = (given.query[0], given.key[0], given.value[0])
    expected = refined_output_reference(
        *tensors,
        given.layout,
        positions,
        method.alpha,
        method.amplitude,
        method.token_form,
        given.query.shape[-1] ** -0.5,
    )
    explicit, ours = refinement.explicit_refinement(given, method)[0], refinement.steered(given, method)[0][0]
    assert torch.allclose(explicit, expected, atol=1e-5) and torch.allclose(ours, expected, atol=1e-5)
    assert (ours - refinement.plain(given)[0]).abs().max() > 1e-3, "the refinement must do something"


def test_the_explicit_way_holds_the_matrix_and_ours_does_not():
    size = models.Size(heads=4, width=16, text=24, side=12)
    given = refinement.attention(models.TARGET, size, torch.float32, "cpu")
    matrix = 4 * size.heads * (size.text + size.image) ** 2
    assert peak_bytes(lambda: refinement.explicit_refinement(given, HeadRouter(keys="words"))) >= 2 * matrix
    assert peak_bytes(lambda: refinement.steered(given, HeadRouter(gamma=0, rho=0, keys="words"))) < matrix


def test_refinement_gives_time_memory_and_agreement():
    figures = {figure.what: figure for figure in refinement.measure(silent, size=models.TINY, rounds=1)}
    shape = "float32, 4 heads, 24 + 36 tokens"
    for task, goal in (("refinement of 16 keys", 10), ("capture of 5 keys", 50)):
        assert figures[f"{task}, {shape}: time that the explicit way adds over ours"].goal == ("≥", goal)
        assert figures[f"{task}, {shape}: peak memory that the explicit way adds over ours"].goal == ("≥", 10)
        assert figures[f"{task}, {shape}: largest relative difference"].met is True


def test_bytes_are_those_that_operations_read_and_write():
    one, two = torch.zeros(100), torch.zeros(10, 10)
    for case, elements in (
        (lambda: one + one, 200),
        (lambda: one.add_(1), 200),
        (lambda: two[3:].T.unbind()[0].view(7), 0),
        (lambda: [*two.split(5), *two.split([3, 7])], 0),
        (lambda: two.index_select(0, torch.tensor([1, 2])), 40),
        (lambda: one.copy_(two.flatten()), 200),
        (lambda: torch.empty(5), 0),
        (lambda: two[:, :1].expand(10, 10) * two, 210),
    ):
        with Traffic() as traffic:
            case()
        assert traffic.bytes == 4 * elements


def test_steering_does_what_the_equations_do_one_by_one_and_moves_less():
    event, output, run = steps.attended(models.TINY, "cpu", torch.float32)
    (keys,) = run.text_keys(event).values()
    expected = steps.one_by_one(event, output, tuple(keys))
    assert (expected - output).abs().max() > 1e-3
    torch.testing.assert_close(run.after(event, output), expected, atol=1e-4, rtol=1e-4)
    pytest.importorskip("triton")
    plain, fused = (steps.moved(models.FLUX_BLOCK, fuse=fuse) for fuse in (False, True))
    tensor = 2 * 24 * 128 * 4608
    assert 5 * tensor < fused.bytes < 6.5 * tensor < 11 * tensor < plain.bytes < 14 * tensor
    assert fused.operations == 10 and plain.operations <= 41, (
        "each is a launch on a GPU, which waits for it at small sizes"
    )


def test_a_wrong_method_shows_as_a_difference():
    words = refinement.attention(models.TARGET, models.TINY, torch.float32, "cpu")
    right, wrong = (HeadRouter(gamma=0, rho=0, keys="words", alpha=alpha) for alpha in (2.0, 2.2))
    task = refinement.Task("x", words, wrong, lambda: refinement.explicit_refinement(words, right), 10)
    assert task.difference() > 1e-3


def test_edits_together_count_their_rows():
    """rf with guidance: N rows to invert; then a source and k edits, two branches each."""
    steps, (figure,) = 2, together.measure(silent, counts=(2,), rounds=1, steps=2)
    one_call, two_calls = steps + steps * 2 * 3, 2 * (steps + steps * 2 * 2)
    assert figure.note.endswith(f"rows {one_call} and {two_calls}, {one_call / two_calls:.2f}")
    assert figure.goal == ("≤", 0.6) and figure.value > 0
    assert len(set(together.prompts(8))) == 8


@pytest.mark.parametrize("family", edits.FAMILIES)
def test_peers_loops_give_the_latents_of_ours(family, monkeypatch):
    """So that times are compared of the same computation; and a stock generation is that of the pipeline's numbers."""
    found = []
    monkeypatch.setattr(Batch, "pictures", lambda batch, latents: found.append(latents) or [edits.picture()])
    backbone = edits.editor(family, "euler", None).backbone
    for inversion, loop in edits.peer_loops(backbone, 5).items():
        edits.edit(edits.editor(backbone, inversion, None), steps=5)
        theirs, picture = loop()
        assert picture.size == edits.picture().size
        assert (theirs - found[-1]).norm() <= 1e-4 * theirs.norm()
        assert (theirs - edits.stock_of(backbone).encode(edits.picture())).norm() > 0.1 * theirs.norm(), (
            "something was edited"
        )
    stock = edits.stock_of(backbone)
    drawn = stock.generate(edits.TARGET, (64, 64), 2, 3.0)
    ours = edits.editor(backbone, "euler", None)
    ours.generate(edits.TARGET, steps=2, guidance=3.0)
    difference = np.asarray(stock.decode(found[-1]), dtype=float) - np.asarray(drawn)
    assert np.abs(difference).max() <= 1


def test_whole_edits_are_measured_over_the_stock_pipeline():
    figures = {figure.what: figure for figure in edits.measure(silent, families=("sd3.5",), rounds=1, steps=2)}
    assert len(figures) == 1 + 2 * len(edits.INVERSIONS) + 2
    assert figures["sd3.5: edit by euler, over the stock pipeline"].goal == ("≤", 2.1)
    steered = figures["sd3.5: edit by rf + HeadRouter, over the stock pipeline"]
    rows = int(steered.note.split()[1])
    assert steered.goal == ("≤", round(1.15 * rows / 4, 3)) and f"rows {rows} over 4" in steered.note
    assert figures["sd3.5: edit by rf, over the peer's loop"].goal == ("≤", 1)


def test_threads_compare_alone_and_beside_a_busy_program(monkeypatch):
    seconds = dict(zip(threads.CASES, (2.0, 3.0, 1.0, 50.0), strict=True))
    monkeypatch.setattr(threads, "one", lambda case, steps: Spell(seconds[case], 1.0))
    assert [figure.value for figure in threads.measure(silent, rounds=1)] == [1.5, 2.0, 50.0]


def test_an_edit_of_a_fresh_process_is_timed(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: [0, 0])
    spell = threads.one("chosen, alone", 1)
    assert spell.work > 0 and spell.wall > 0


def test_startup_runs_fresh_processes(monkeypatch):
    figures = list(startup.measure(silent, rounds=1))
    assert [figure.goal for figure in figures] == [None, ("≤", 3.0)]
    with pytest.raises(subprocess.CalledProcessError, match="exit status"):
        startup.fresh(["-c", "raise SystemExit(3)"])
    used = iter([2.0, 5.0])
    monkeypatch.setattr(startup, "_children", lambda: next(used))
    assert startup.fresh(["-c", ""]).work == 3, "what this process alone has added"


def test_the_stopwatch_is_tried_on_known_loads(monkeypatch):
    monkeypatch.setattr(stopwatch, "LOAD", 0.001)
    monkeypatch.setattr(startup, "fresh", lambda arguments: Spell(1, len(arguments[1]) + 1))
    work, asleep, slow, busy = stopwatch.measure(silent, rounds=1)
    assert [figure.goal for figure in (work, asleep, slow, busy)] == [("≤", 1.1), ("≤", 0.1), ("≥", 2), ("≥", 2)]
    assert work.value > 0 and asleep.value >= 0 and slow.value > 0 and busy.value == 18


def test_the_command_writes_the_page_and_the_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(startup, "measure", lambda progress, rounds: [Figure("x", float(rounds), goal=("≤", 2))])
    monkeypatch.setattr(together, "measure", lambda progress, rounds: 1 / 0)
    assert command.main(["startup", "--rounds", "2", "--out", str(tmp_path)]) == 0
    assert command.main(["together", "--rounds", "2", "--out", str(tmp_path)]) == 1
    known = json.loads((tmp_path / "benchmarks.json").read_text())
    assert [figure["value"] for figure in known["startup"]["figures"]] == [2.0]
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| x | 2 × |  | ≤ 2 | yes |" in text and "| x | 2 × |" in capsys.readouterr().out
    assert "error: ZeroDivisionError" in text
    assert text.count("Not measured yet.") == len(page.NAMES) - 2
    assert "There are no figures from a GPU yet." in text


def test_figures_from_a_gpu_appear_on_the_page(tmp_path):
    record = {"machine": "a machine", "figures": page.records([Figure("y", 3.0)])}
    (tmp_path / "benchmarks-gpu.json").write_text(json.dumps(record))
    assert command.main(["--page", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| y | 3 × |" in text and "no figures from a GPU" not in text


def test_an_unknown_benchmark_is_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["steam"])
    assert "no benchmark steam; there are edits, threads, steering" in capsys.readouterr().err


def test_the_page_of_the_repository_is_that_of_its_figures(tmp_path):
    for path in (ROOT / "docs").glob("benchmarks*.json"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    page.write(tmp_path)
    assert (tmp_path / "benchmarks.md").read_text() == (ROOT / "docs" / "benchmarks.md").read_text()
