"""The record of an edit: everything that decided it, and what it cost."""

from collections.abc import Mapping
from typing import Any

import torch

from headrouter.editing.assembly import described
from headrouter.editing.job import Job
from headrouter.editing.request import Request
from headrouter.editing.result import FORMAT
from headrouter.sampling.cost import Cost
from headrouter.version import __version__


def record_of(
    job: Job, asked: Request, cost: Cost, backbone: Mapping[str, Any], weights: str, max_rows: int | None
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
