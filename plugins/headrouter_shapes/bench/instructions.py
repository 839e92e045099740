"""Measure a pipeline that edits by instructions, on held-out edits whose right result is drawn.

Edits are those of a set of :mod:`~headrouter_shapes.bench.sets`, plain Euler steps on the scheduler's grid from noise, with
the source drawing as the reference.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from headrouter_shapes.bench.measures import Measures, Pictures, measure
from headrouter_shapes.bench.sets import KINDS, Case, Set, cases
from headrouter_shapes.pipelines.folder import load_measured
from headrouter_shapes.pipelines.sampling import decode_latents, encode_pictures, integrate, starting_noise
from headrouter_shapes.world.pool import to_pictures, to_tensor
from headrouter_shapes.world.render import render_array
from headrouter_shapes.world.sheet import save_sheet

GOALS: Final = {"success": 0.85, "preservation, dB": 34.0}
"""What the figures of all kinds together should reach."""
_SHOWN: Final = 16


def evaluate_instructions(
    folder: Path,
    *,
    set: Set = "test",  # noqa: A002
    count: int = 400,
    steps: int = 28,
    guidance: float = 2.0,
    seed: int = 7,
    batch: int = 20,
    device: str = "cpu",
    workers: int = 1,
    sheet: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure a pipeline folder of instructions.

    Args:
        folder: in diffusers' format.
        set, count: of the edits; 400 at most.
        steps: of Euler.
        guidance: of the instruction, against none, with the reference in both.
        seed: of the noise.
        batch: edits at a time.
        device: where the pipeline runs.
        workers: CPU threads, a batch each.
        sheet: where to save sources, edits and the drawings that they should be, above each other.
        say: called with a line on what is being done.

    Returns:
        Figures by name, of all kinds together and of each, with the settings that gave them.
    """
    pipeline, loading = load_measured(folder, device)
    chosen = cases(set, count)
    sources = render_array([case.source for case in chosen])

    def edit(start: int) -> tuple[Pictures, list[Measures]]:
        say(f"{folder.name}: edits {start} to {min(start + batch, count)} of {count}")
        own = chosen[start : start + batch]
        reference = encode_pictures(pipeline, to_tensor(sources[start : start + batch]).to(device))
        noise = starting_noise(seed, len(own), start).to(device)
        asked = [case.instruction for case in own]
        made = integrate(pipeline, noise, asked, steps=steps, guidance=guidance, reference=reference)
        pictures = to_pictures(decode_latents(pipeline, made))
        return pictures, measure(pictures, own)

    with ThreadPoolExecutor(workers) as threads:
        parts = list(threads.map(edit, range(0, count, batch)))
    measured = [one for _, part in parts for one in part]
    if sheet is not None:
        targets = render_array([case.target for case in chosen[: 2 * _SHOWN]])
        shown = (sources, np.concatenate([pictures for pictures, _ in parts]), targets)
        rows = [row[start : start + _SHOWN] for start in range(0, len(targets), _SHOWN) for row in shown]
        save_sheet(np.concatenate(rows), sheet, columns=_SHOWN)
    return {
        "settings": {"set": set, "edits": count, "steps": steps, "guidance": guidance, "seed": seed, "device": device},
        **loading,
        "all kinds": _means(measured),
        "kinds": {kind: _means(own) for kind in KINDS if (own := _of_kind(kind, chosen, measured))},
    }


def _of_kind(kind: str, chosen: Sequence[Case], measured: Sequence[Measures]) -> list[Measures]:
    return [one for one, case in zip(measured, chosen, strict=True) if case.kind == kind]


def _means(measured: Sequence[Measures]) -> dict[str, float]:
    kept = [one.preservation for one in measured if not np.isnan(one.preservation)]
    return {
        "edits": len(measured),
        "success": float(np.mean([one.success for one in measured])),
        "reads new": float(np.mean([one.reads_new for one in measured])),
        "others unchanged": float(np.mean([one.others_unchanged for one in measured])),
        "preservation, dB": round(float(np.mean(kept)), 2) if kept else float("nan"),
        "distance to truth, dB": round(float(np.mean([one.truth for one in measured])), 2),
    }


def instructions_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures of several pipelines as a Markdown table; a figure of all kinds below its goal is bold."""
    titles = ("success", "reads new", "others unchanged", "preservation, dB", "distance to truth, dB")
    lines = ["| Model | kind | edits | " + " | ".join(titles) + " |", "| --- | --- |" + " ---: |" * (1 + len(titles))]
    for name, found in figures.items():
        for kind, values in {"all": found["all kinds"], **found["kinds"]}.items():
            cells = [_cell(title, values[title], kind == "all") for title in titles]
            lines.append(f"| `{name}` | {kind} | {values['edits']} | {' | '.join(cells)} |")
        lines.append(f"\n`{name}` loads in {found['load, s']:.1f} s; the folder has {found['megabytes']:.1f} MB.\n")
    return "\n".join(lines)


def _cell(title: str, value: float, held_to_goals: bool) -> str:
    text = f"{value:.1f}" if title.endswith("dB") else f"{value:.1%}"
    return f"**{text}**" if held_to_goals and value < GOALS.get(title, -np.inf) else text
