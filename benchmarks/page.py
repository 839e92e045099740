"""``docs/benchmarks.md``, from the figures in the JSON files beside it."""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, records, table

NAMES = (
    "edits",
    "threads",
    "steering",
    "refinement",
    "together",
    "startup",
    "since",
    "planning",
    "experiments",
    "stopwatch",
)
FOLDER = Path(__file__).parents[1] / "docs"


def update(folder: Path, name: str, figures: list[Figure], machine: str) -> None:
    """Put the figures of one benchmark in place of its last ones, and write the page again."""
    path = folder / "benchmarks.json"
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known[name] = {"machine": machine, "figures": records(figures)}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write(folder)


def write(folder: Path) -> None:
    """Write the page from the JSON files."""
    path, gpu = folder / "benchmarks.json", folder / "benchmarks-gpu.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    parts = [_HEAD, *(_part(name, known.get(name)) for name in NAMES)]
    found = json.loads(gpu.read_text(encoding="utf-8")) if gpu.exists() else None
    figures = "There are no figures from a GPU yet.\n" if found is None else _figures(found)
    parts.append(_GPU.format(figures=figures))
    (folder / "benchmarks.md").write_text("\n".join(parts), encoding="utf-8")


def _part(name: str, record: Mapping[str, Any] | None) -> str:
    description = (import_module(f"benchmarks.{name}").__doc__ or "").strip()
    figures = "Not measured yet.\n" if record is None else _figures(record)
    return f"## {name.capitalize()}\n\n{description}\n\n{figures}"


def _figures(record: Mapping[str, Any]) -> str:
    return f"{table(map(Figure.from_record, record['figures']))}\n{record['machine']}.\n"


_HEAD = """# Benchmarks

Cost of steering. Each figure is a ratio of things that ran in turns in one process (fresh processes for start-up, threads and an
earlier state): the median over the rounds, with its quartiles. On the CPU everything else runs on one thread, and seconds are
those that the processor worked for the process, because other work on a machine disturbs the clock; where it matters the ratio on
the clock is given too. Peak memory on the CPU is the sum of all allocations and releases that PyTorch's profiler records.

    make benchmarks                        # all of them: half an hour on an idle machine
    python -m benchmarks startup together  # some of them

Either writes this page and `benchmarks.json` beside it.
"""

_GPU = """## On a GPU

    make gpu WHEELS=folder

or, where there is no make, with this folder, `adapters`, `inversions`, `plugins` and the packages on `PYTHONPATH`,

    python -m benchmarks.gpu --out out/gpu

needs Python 3.11 or newer with pip and PyTorch 2.9 or newer, a CUDA GPU, and no network. Packages that come with most
installations of PyTorch (numpy, scipy, pillow, tqdm, PyYAML, requests, rich, packaging, filelock, psutil, accelerate,
sentencepiece, protobuf) and of transformers (regex, fsspec, typer) are expected to be there. The others are wheels in the folder,
brought along from a machine that has a network, for the Python and the system of the other one, 42 MiB for Python 3.12:

    pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \\
        --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \\
        -c constraints.txt -r benchmarks/gpu/packages.txt -d folder

The rest of the tree is 6 MiB without the weights in `plugins/headrouter_shapes/weights`, which may stay behind.

It installs them into a folder of its own, `.gpu` (without `WHEELS` it takes what is installed), and writes `gpu.md` and
`gpu.json` to `out/gpu`; each row is in `gpu.jsonl` as soon as it is measured, and a part that takes longer than `--limit` (110
seconds) gives way to the next. `OUT=`, `PARTS=` and `ROUNDS=` choose a folder, some of the parts, and the rounds (five);
`DEVICE=cpu TINY=--tiny` tries everything on small models. Parts, by their value: `identity` (attached without steering, every bit
is the same), `edits` (each bundled model with its text encoders and autoencoder, twice the same and as on the CPU), `flux-dev`
and `sd3.5-medium` (random weights of the models' sizes, at 1024 × 1024 pixels: what steering adds to a pass, by fused kernels and
by plain operations), `waits` (how often a step makes the program wait for the GPU), `kernels` (each fused kernel's log-sum-exp
against the chunked one), `compiled` (the same of compiled blocks), `bundled` (whole edits by the bundled models, over their stock
pipelines and peers' loops), `offload` (by model and by group, against none), `memory` (of 2 to 8 rows), `refinement` (as above,
of times without goals: on a GPU it is launching that takes the time). Every part gives figures, or a row that says what went
wrong; the exit status is 0 if all is measured and meets its goal. `gpu.json` copied to `docs/benchmarks-gpu.json` appears here
after `python -m benchmarks --page`. `make gpu-features` tries every feature on the GPU ([features](features.md#on-a-gpu)).

The fused kernels by themselves: `python -m pytest tests/core/fused_interpreted.py`, which on a GPU runs them compiled (34 tests
pass). The rows say four things. Attached without steering, nothing differs in any bit, and an edit is the same twice. HeadRouter
adds 1.5 % to a pass of FLUX.1-dev by fused kernels and 5.1 % by plain operations, a tenth of a point over its goal, and no
memory; they were 50 plain operations an attention then, and are 41 since, which no GPU has run yet. No step waits for the GPU.
The bundled models are so small that the GPU waits for the processor: an edit takes as long as its calls of the model and the
operations that steering starts, whatever its rows. What the table lacks was not measured: what edits by the bundled `flux` cost
over its stock pipeline, which was cut off by the limit, and how much memory offloading saves.

{figures}"""
