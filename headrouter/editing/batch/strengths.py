"""Make each edit at several strengths, and keep the weakest that took: ``strength="auto"``."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter.attention.rows import Row, rows_at
from headrouter.editing.batch.edited import Edited, Latents, StartLatents, joined
from headrouter.models.likelihood import margins, weakest_that_took
from headrouter.sampling.cost import Cost, Meter
from headrouter.sampling.occupation import Occupation

if TYPE_CHECKING:
    from headrouter.editing.batch.batch import Batch


def edit_at_chosen_strengths(batch: "Batch", inverted: Sequence[StartLatents] | None, *, keep_sources: bool) -> Edited:
    """Make each edit at every strength, and keep the weakest that took.

    Args:
        batch: Whose plan asks for it.
        inverted, keep_sources: As of :meth:`~headrouter.editing.batch.batch.Batch.edit`.
    """
    batch.encode(sources=True)
    starts, cost = batch.invert() if inverted is None else (inverted, Cost())
    tried = [replace(batch, plan=plan).edit(starts, keep_sources=keep_sources) for plan in batch.plan.at_strengths()]
    with Occupation(batch.backbone), Meter(batch.backbone.device) as meter:
        found = _margins(batch, [one.latents for one in tried], meter)
    chosen, count = weakest_that_took(found), len(tried[0].latents)
    order = [strength * count + edit for edit, strength in enumerate(chosen)]
    parts = zip(*(one.diagnostics for one in tried), strict=True)
    scale = batch.plan.inversion.strengths
    assert scale is not None
    return Edited(
        rows_at(torch.cat([one.latents for one in tried]), order),
        tuple(joined(part, order) for part in parts),
        tried[-1].sources,
        starts,
        sum((one.cost for one in tried), cost) + meter.cost(),
        joined([one.masks for one in tried], order),
        tuple(f"{scale.parameter}={scale.values[strength]:g}" for strength in chosen),
        tuple(one.latents for one in tried),
    )


def _margins(batch: "Batch", tried: Sequence[Latents], meter: Meter) -> Float[Tensor, "pictures edits"]:
    """Return how far the source of each edit, and the edit at each strength, is likelier under the target's prompt."""

    def evaluate(latents: Tensor, sigma: float, rows: Sequence[Row]) -> Tensor:
        most, found = batch.max_rows or len(rows), []
        for first in range(0, len(rows), most):
            meter.count(batch.backbone, rows[first : first + most])
            found.append(batch.backbone.velocity(latents[first : first + most], sigma, rows[first : first + most]))
        return torch.cat(found)

    columns: list[Tensor] = []
    for place, task in enumerate(batch.tasks):
        negative = batch.prompt(place, batch.negative)
        source = Row(batch.prompt(place, task.source or ""), negative, 1.0, 0)
        for text, seed in product(task.prompts, range(len(task.seeds))):
            inputs, edit = batch.inputs([place], seed), len(columns)
            pictures = torch.cat([inputs.source, *(one[edit : edit + 1] for one in tried)])
            target = Row(batch.prompt(place, text), negative, 1.0, 0)
            columns.append(margins(evaluate, pictures, partial(inputs.noise, "strength"), source, target))
    return torch.stack(columns, dim=1)
