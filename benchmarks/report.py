"""Measure the report of an experiment of 10 000 cells: seconds of the processor, files and bytes.

    python -m benchmarks.report [FOLDER]

The run is synthetic: 334 edits by 30 configurations, pictures of 512×512 pixels.
"""

import csv
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from headrouter_datasets.pictures import Pictures
from PIL import Image

from headrouter.experiments.page.gathering import gather
from headrouter.experiments.page.writing import write_page
from headrouter.experiments.radar import KINDS
from headrouter.experiments.run_folder.cell import CellKey, CellRecord, Saved, Spent

EDITS, CONFIGURATIONS, SIDE, DRAWN = 334, 30, 512, 40
COLUMNS = {
    "success": {"title": "success", "better": "higher"},
    "kept": {"title": "preservation", "unit": "dB", "better": "higher"},
    "structure": {"title": "structure distance", "better": "lower", "scale": 1000.0},
    "clip": {"title": "CLIP-T", "better": "higher", "digits": 3},
}


def draw(seed: int) -> Image.Image:
    """Return a picture with large forms and fine grain, about as hard to compress as a photograph."""
    random = np.random.default_rng(seed)
    forms = Image.fromarray((random.random((16, 16, 3)) * 255).astype(np.uint8)).resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC
    )
    grain = random.integers(-4, 5, (SIDE, SIDE, 3))
    return Image.fromarray((np.asarray(forms).astype(int) + grain).clip(0, 255).astype(np.uint8))


def write_run(folder: Path) -> None:
    """Write a run folder; a few pictures stand for all, each under a hash of its own."""
    data, drawn = folder / "data", []
    data.mkdir(parents=True)
    for number in range(DRAWN):
        drawn.append(data / f"{number}.png")
        draw(number).save(drawn[-1], compress_level=1)
    with (data / "edits.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["id", "image", "source_prompt", "prompt", "kind"])
        for edit in range(EDITS):
            words = f"in a garden beside the house number {edit}, a photograph"
            lines.writerow(
                [f"{edit:04d}", f"{edit % DRAWN}.png", f"a cat {words}", f"a dog {words}", KINDS[edit % len(KINDS)]]
            )
    dataset = Pictures(folder=str(data))
    run = folder / "run"
    for kind in ("configurations/flux", "metrics", "records", "pictures/flux"):
        (run / kind).mkdir(parents=True)
    about = {"name": "pictures", **dataset.model_dump(mode="json"), "revision": dataset.revision}
    lock = {"format": 1, "experiment": "ten thousand", "items": EDITS, "baseline": "rf gamma=0", "dataset": about}
    (run / "lock.json").write_text(json.dumps(lock))
    full = {name: {"unit": "", "digits": 2, "scale": 1.0, "given": "", **one} for name, one in COLUMNS.items()}
    (run / "metrics" / "m-1.json").write_text(json.dumps({"name": "m-1", "columns": full}))
    random, records = np.random.default_rng(0), []
    keys = [item.key for item in dataset.items()]
    for place in range(CONFIGURATIONS):
        name, digest = f"rf gamma={place}", f"{place:016x}"
        plain = {"name": name, "group": "flux", "hash": digest, "seeds": [0], "place": place}
        (run / "configurations" / "flux" / f"rf-gamma={place}.json").write_text(json.dumps(plain))
        (run / "pictures" / "flux" / f"rf-gamma={place}" / "0").mkdir(parents=True)
        for edit, key in enumerate(keys):
            file = f"pictures/flux/rf-gamma={place}/0/{key}.png"
            os.link(drawn[(edit + place) % DRAWN], run / file)
            values = random.normal(size=3)
            measures = {
                "success": bool(values[0] > -0.5),
                "kept": 30 + values[1],
                "structure": 0.02,
                "clip": 0.3 + values[2] / 50,
            }
            saved = Saved(file, hashlib.sha256(file.encode()).hexdigest())
            cell, cost = CellKey(digest, key, 0), Spent(56, 84, 3.0, 2.0, 2**34)
            records.append(
                CellRecord(cell, name, "flux", key, KINDS[edit % 8], saved, cost, {"m-1": measures}, at=1.0).line()
            )
    (run / "records" / "one.jsonl").write_text("".join(f"{line}\n" for line in records))


def measure(folder: Path) -> dict[str, float]:
    """Write a page twice, and return processor seconds of both, files, and megabytes of its parts."""
    write_run(folder)
    page, seconds = folder / "run" / "report", []
    for _ in range(2):
        begin = time.process_time()
        write_page(gather(folder / "run"), page, "rf gamma=0")
        seconds.append(time.process_time() - begin)
    parts = {
        name: sum(file.stat().st_size for file in (page / name).rglob("*")) / 1e6
        for name in ("data", "pictures", "thumbnails")
    }
    first = sum((page / name).stat().st_size for name in ("index.html", "data/summary.js", "data/rows-0.js")) / 1e6
    return {
        "first": seconds[0],
        "again": seconds[1],
        "files": sum(1 for _ in page.rglob("*")),
        **parts,
        "MB at opening": first,
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        found = measure(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
    print(", ".join(f"{name} {value:.2f}" for name, value in found.items()))
