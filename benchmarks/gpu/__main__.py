"""``python -m benchmarks.gpu``: the parts by their value, each within a limit; gpu.md, gpu.json, and gpu.jsonl meanwhile."""

import argparse
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler's remarks

import torch

from benchmarks import refinement
from benchmarks.figure import Figure, attempt, records, table
from benchmarks.gpu import edits, identity, kernels, offload, released
from benchmarks.gpu.checkout import declare
from benchmarks.gpu.setting import Setting
from benchmarks.machine import machine


def refining(setting: Setting) -> Iterator[Figure]:
    """Refinement and capture against the explicit softmax."""
    yield from refinement.measure(
        lambda line: setting.progress(f"refinement: {line}"),
        size=setting.block,
        dtype=setting.dtype,
        device=setting.device,
        rounds=setting.rounds,
        timed=setting.device.type == "cpu",
    )


PARTS: dict[str, Callable[[Setting], Iterator[Figure]]] = {
    "identity": identity.measure,
    "edits": edits.measure,
    "waits": edits.waits,
    "flux-dev": released.flux_dev,
    "sd3.5-medium": released.sd35_medium,
    "kernels": kernels.measure,
    "compiled": released.compiled,
    "bundled": edits.over_stock,
    "offload": offload.measure,
    "memory": released.memory,
    "refinement": refining,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; 0 if every row is a figure that meets its goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which: {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--device", default="cuda", help="device of PyTorch (cuda)")
    parser.add_argument("--tiny", action="store_true", help="small models, to try it out")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison (5)")
    parser.add_argument("--limit", type=int, default=110, help="seconds after which a part gives way to the next (110)")
    parser.add_argument("--out", type=Path, default=Path("out/gpu"), help="folder of the table (out/gpu)")
    asked = parser.parse_args(arguments)
    unknown = sorted(set(asked.parts) - set(PARTS))
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    try:
        device = torch.empty(0, device=asked.device).device
    except (RuntimeError, AssertionError) as error:
        parser.error(f"`--device` {asked.device!r} cannot be used here: {str(error).splitlines()[0]}")
    declare()
    warnings.simplefilter("ignore")
    setting = Setting(device, asked.tiny, asked.rounds, lambda line: print(line, file=sys.stderr, flush=True))
    figures: list[Figure] = []
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "gpu.jsonl").write_text("")
    for name in asked.parts or PARTS:
        begin = time.monotonic()
        for figure in attempt(name, lambda: within(asked.limit, PARTS[name](setting))):  # noqa: B023
            figures.append(figure)
            write(asked.out, figures, device)
            line = {"part": name, "seconds": round(time.monotonic() - begin, 1), **records([figure])[0]}
            with (asked.out / "gpu.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if device.type == "cuda":
            torch.cuda.empty_cache()
    print((asked.out / "gpu.md").read_text(encoding="utf-8"))
    return int(any(figure.met is False for figure in figures))


def within(seconds: int, figures: Iterator[Figure]) -> Iterator[Figure]:
    """Figures, as long as they come in time; what the main thread computes is cut off by an alarm.

    Raises:
        TimeoutError: it took longer.
    """

    def ring(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield from figures
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def write(folder: Path, figures: Sequence[Figure], device: torch.device) -> None:
    """Write the table as it is so far."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{table(figures)}\n{machine(device)}.\n"
    (folder / "gpu.md").write_text(text, encoding="utf-8")
    record = {"machine": machine(device), "figures": records(figures)}
    (folder / "gpu.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
