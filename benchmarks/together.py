"""Several edits of one picture in one call, over as many calls with one edit each, on the bundled SD3.5 model of drawn shapes.

One call inverts once and runs the source's row once. A row here is one evaluation of the model for one branch of
guidance. k edits take (2k + 3) / 5k of the rows of k calls, so 0.70 for two, 0.55 for four, 0.48 for eight: for two, less time than
that comes from larger batches alone.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from benchmarks.figure import Figure
from benchmarks.timing import Case, Progress, alternate

SCENE = "a large plain {} star in the center, filled, on a mint background"
COLOURS = ("red", "orange", "yellow", "green", "purple")
GOAL = 0.6


def prompts(count: int) -> list[str]:
    """Different edits of a blue star."""
    scenes = [SCENE.format(colour) for colour in COLOURS]
    scenes += [scene.replace("star", "heart") for scene in scenes]
    return scenes[:count]


def one_by_one(editor: Any, picture: Any, wanted: Sequence[str], **settings: Any) -> int:
    """Separate edits; gives the rows of all."""
    results = [editor.edit(picture, prompt, SCENE.format("blue"), **settings) for prompt in wanted]
    return sum(result.cost.rows for result in results)


def all_at_once(editor: Any, picture: Any, wanted: Sequence[str], **settings: Any) -> int:
    """One call; gives its rows."""
    return int(editor.edit(picture, list(wanted), SCENE.format("blue"), **settings).cost.rows)


def measure(
    progress: Progress, *, counts: Sequence[int] = (2, 4, 8), rounds: int = 5, steps: int = 8, **settings: Any
) -> Iterator[Figure]:
    """For each number of edits: seconds of the one call over those of the separate ones, and rows of both."""
    from headrouter_shapes.world.render import render
    from headrouter_shapes.world.scene import Scene

    from headrouter import Editor

    editor = Editor(backbone="sd3.5", model="shapes", progress=False)
    picture = render_picture(render, Scene)
    for count in counts:
        wanted = prompts(count)
        rows: dict[str, int] = {}
        cases: dict[str, Case] = {
            "together": partial(
                _counting, rows, "together", all_at_once, editor, picture, wanted, steps=steps, **settings
            ),
            "separate": partial(
                _counting, rows, "separate", one_by_one, editor, picture, wanted, steps=steps, **settings
            ),
        }
        times = alternate(cases, rounds, progress=partial(_say, progress, count))
        yield Figure.of(
            f"{count} edits in one call over {count} calls, {steps} steps",
            times.ratios("together", "separate"),
            goal=("≤", GOAL),
            note=f"{rounds} rounds; rows {rows['together']} and {rows['separate']}, {rows['together'] / rows['separate']:.2f}",
        )


def _counting(rows: dict[str, int], case: str, edit: Callable[..., int], *given: Any, **settings: Any) -> None:
    rows[case] = edit(*given, **settings)


def _say(progress: Progress, count: int, line: str) -> None:
    progress(f"{count} edits: {line}")


def render_picture(render: Any, scene: Any) -> Any:
    """The blue star."""
    return render(
        scene(
            shape="star",
            colour="blue",
            texture="plain",
            background="mint",
            size="large",
            position="center",
            number="one",
            style="filled",
        )
    )
