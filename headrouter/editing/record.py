"""The record of an edit: everything that decided it, and what it cost, as a file of JSON."""

import hashlib
import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from PIL import Image

from headrouter.editing.assembly import described
from headrouter.editing.request import Request
from headrouter.errors import InvalidInputError
from headrouter.files import LARGEST_TEXT, path_of, read_file, write_whole
from headrouter.sampling.cost import Cost
from headrouter.version import __version__

if TYPE_CHECKING:
    from headrouter.editing.job import Job

RECORD: Final = "result.json"
FORMAT: Final = 2
READ: Final = (1, 2)
"""Formats that are read; the first does not say which weights an edit was made with."""


def record_of(
    job: "Job", asked: Request, cost: Cost, backbone: Mapping[str, Any], weights: str, max_rows: int | None
) -> dict[str, Any]:
    """Return plain data from which :func:`~headrouter.editing.again.edit_again` runs the edit again.

    Args:
        job, asked, cost: What was asked, what came of it, and what it took.
        backbone: How the backbone was loaded.
        weights: Its fingerprint.
        max_rows: Most rows in one model call.
    """
    return {
        "headrouter": {"format": FORMAT, "version": __version__, "torch": torch.__version__},
        "backbone": dict(backbone),
        "weights": weights,
        "inversion": described("inversion", job.inversion),
        "methods": [described("method", method) for method in job.methods],
        "edit": {
            "source_prompt": job.source.text,
            "prompt": [prompt.text for prompt in job.targets],
            "negative_prompt": job.negative.text,
            "guidance": job.guidance,
            "steps": job.steps,
            "seed": asked.seed[0] if len(asked.seed) == 1 else list(asked.seed),
            "size": list(job.size),
            "maps": asked.maps,
        },
        "preset": asked.preset,
        "max_rows": max_rows,
        "cost": {
            "calls": cost.calls,
            "rows": cost.rows,
            "seconds": round(cost.seconds, 3),
            "peak_memory": cost.peak_memory,
        },
    }


def read_record(path: str | Path) -> dict[str, Any]:
    """Read what :meth:`Result.save` wrote.

    Raises:
        InvalidInputError: not there, not JSON, not a record of an edit, or of a later format.
    """
    path = path_of(path, "path")
    path = path / RECORD if path.is_dir() else path
    text = read_file(path, "record", LARGEST_TEXT)
    try:
        record = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"cannot read the record '{path}': {error}.") from error
    if not isinstance(record, dict) or not isinstance(record.get("headrouter"), dict) or "edit" not in record:
        raise InvalidInputError(f"'{path}' is not the record of an edit; give the result.json that an edit wrote.")
    found = record["headrouter"].get("format")
    if type(found) is not int or found not in READ:
        raise InvalidInputError(
            f"'{path}' has format {reprlib.repr(found)}, this headrouter reads {FORMAT}; take the version that wrote it."
        )
    return record


def picture_hash(picture: Image.Image) -> str:
    """Return the SHA-256 of a picture's size and RGB pixels, whatever file it came from."""
    digest = hashlib.sha256(f"{picture.width}x{picture.height}".encode())
    digest.update(picture.convert("RGB").tobytes())
    return digest.hexdigest()


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record so that the file is there whole or not at all."""
    write_whole(path, as_json(record))


def as_json(record: Mapping[str, Any]) -> bytes:
    """Return a record as JSON that a person can read."""
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
