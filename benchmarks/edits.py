"""Whole edits, from a picture to a picture, over a stock pipeline's plain generation with as many steps; and peers' loops.

Bundled models, 28 steps, guidance 3, one edit, all in turns in one process. A row is one evaluation of the transformer for one
branch of guidance; the stock pipeline's are two a step. Everything is counted: encoding, the hash of the weights, the record,
decoding. The peers' loops (`benchmarks/peers.py`) are the bare equations over the same weights, with the same latents as ours; each
and our edit run by themselves in turns, in more rounds, because they differ by a few hundredths.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, Final

from benchmarks import peers
from benchmarks.figure import Figure
from benchmarks.timing import Case, Progress, alternate
from benchmarks.together import SCENE, render_picture

FAMILIES: Final = ("sd3.5", "flux")
SOURCE, TARGET = SCENE.format("blue"), SCENE.format("red")
GUIDANCE: Final = 3.0
INVERSIONS: Final = ("rf", "euler", "flowedit", "fireflow")
GOALS: Final[dict[str, Callable[[float], float]]] = {
    "euler": lambda rows: 2.1,
    "flowedit + HeadRouter": lambda rows: 1.25 * rows,
    "rf + HeadRouter": lambda rows: 1.15 * rows,
}
"""Largest ratio by the edit's rows over the stock pipeline's."""
PAIRS: Final = 16
"""Rounds of an edit and a peer's loop for each round of all cases, on the CPU."""


def editor(backbone: Any, inversion: str, method: str | None, **given: Any) -> Any:
    """An editor on bundled weights, or on a backbone that is loaded."""
    from headrouter import Editor

    model = {"model": "shapes", **given} if isinstance(backbone, str) else given
    return Editor(backbone, inversion, method, progress=False, **model)


@cache
def picture() -> Any:
    """The picture to edit, drawn once."""
    from headrouter_shapes.world.render import render
    from headrouter_shapes.world.scene import Scene

    return render_picture(render, Scene)


def edit(chosen: Any, *, steps: int = 28) -> Any:
    """One whole edit."""
    given = picture()
    return chosen.edit(given, TARGET, SOURCE, steps=steps, guidance=GUIDANCE, maps=False, size=given.size)


def stock_of(backbone: Any) -> peers.Stock:
    """The pipeline of a backbone, for the stock pipeline's call and peers' loops."""
    backbone.pipeline.set_progress_bar_config(disable=True)
    return peers.Stock(backbone.pipeline, backbone.parts[-1].length)


def peer_loops(backbone: Any, steps: int) -> dict[str, Callable[[], Any]]:
    """Peers' loops by the inversion of ours that computes the same, with its defaults and noise."""
    from headrouter.sampling.noise import Noise

    given, stock = picture(), stock_of(backbone)
    noise = Noise([0], backbone.latent_shape(*given.size), backbone.device)
    values: dict[str, Any] = {"noise": noise, "steps": steps, "guidance": GUIDANCE}
    rf = partial(peers.rf_inversion, stock, given, TARGET, stop=round(steps / 4), **values)
    flow = partial(peers.flow_edit, stock, given, SOURCE, TARGET, last=round(0.8 * steps), **values)
    return {"rf": rf, "flowedit": flow}


def measure(
    progress: Progress,
    *,
    families: Sequence[str] = FAMILIES,
    rounds: int = 7,
    steps: int = 28,
    inversions: Sequence[str] = INVERSIONS,
    backbones: Callable[[str], Any] = lambda family: editor(family, "euler", None, device="cpu").backbone,
) -> Iterator[Figure]:
    """For each family: generation and edits over the stock pipeline, and edits over peers' loops."""
    for family in families:
        yield from _of(family, backbones(family), rounds, steps, inversions, partial(_say, progress, family))


def _of(
    family: str, backbone: Any, rounds: int, steps: int, inversions: Sequence[str], progress: Progress
) -> Iterator[Figure]:
    rows = {"stock": 2 * steps}
    drawing = editor(backbone, "euler", None)
    cases: dict[str, Case] = {
        "stock": partial(stock_of(backbone).generate, TARGET, picture().size, steps, GUIDANCE),
        "generate": lambda: drawing.generate(TARGET, steps=steps, guidance=GUIDANCE, size=picture().size),
    }
    for inversion in inversions:
        for method, name in ((None, inversion), ("headrouter", f"{inversion} + HeadRouter")):
            chosen = editor(backbone, inversion, method)
            rows[name] = edit(chosen, steps=steps).cost.rows  # a warm-up, too
            cases[name] = partial(edit, chosen, steps=steps)
    on_cpu = backbone.device.type == "cpu"
    times = alternate(cases, rounds, device=backbone.device, progress=progress)
    for case in cases:
        if case != "stock":
            ratio = rows.get(case, 2 * steps) / rows["stock"]
            goal = ("≤", round(GOALS[case](ratio), 3)) if case in GOALS and on_cpu else None
            note = f"rows {rows.get(case, 2 * steps)} over {rows['stock']}: {ratio:.2f}; {rounds} rounds"
            what = f"{family}: {case}" if case == "generate" else f"{family}: edit by {case}"
            yield Figure.of(f"{what}, over the stock pipeline", times.ratios(case, "stock"), goal=goal, note=note)
    for name, loop in peer_loops(backbone, steps).items():
        if name in inversions:
            pair, turns = {name: cases[name], "peer's loop": loop}, PAIRS * rounds if on_cpu else rounds
            ratios = alternate(pair, turns, device=backbone.device, progress=progress).ratios(name, "peer's loop")
            what = f"{family}: edit by {name}, over the peer's loop"
            yield Figure.of(what, ratios, goal=("≤", 1), note=f"{turns} rounds")


def _say(progress: Progress, family: str, line: str) -> None:
    progress(f"{family}: {line}")
