"""Run cases of the benchmark as one :class:`~headrouter.editing.batch.Batch`, which edits one picture for the editor, here many."""

import dataclasses
import time
from collections.abc import MutableMapping, Sequence
from typing import Any

import torch

from headrouter.editing.assembly import name_of
from headrouter.editing.batch import Batch, Task
from headrouter.experiments.configuration import Configuration
from headrouter.models.backbone import Backbone
from headrouter.models.surroundings import undisturbed
from headrouter.sampling.cost import Cost
from headrouter_shapes.bench.measures import Pictures
from headrouter_shapes.bench.sets import Case
from headrouter_shapes.world.drawing import PICTURE_SIZE
from headrouter_shapes.world.pool import to_pictures, to_tensor
from headrouter_shapes.world.render import render_array

Kept = MutableMapping[tuple[Any, ...], tuple[list[torch.Tensor], "Spent"]]
"""Inversions by what they depend on: latents [sources, C, h, w] for each seed, and what they took."""


@dataclasses.dataclass(frozen=True, slots=True)
class Spent:
    """Holds the average cost of one edit: model calls, rows, seconds, and seconds of this thread's processor.

    On a machine that others use too, the processor's seconds are the ones to compare.
    """

    calls: float = 0.0
    rows: float = 0.0
    seconds: float = 0.0
    processor: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        """Return the sum of both costs."""
        return Spent(
            self.calls + other.calls,
            self.rows + other.rows,
            self.seconds + other.seconds,
            self.processor + other.processor,
        )

    @classmethod
    def share(cls, cost: Cost, processor: float, edits: int) -> "Spent":
        """Return the share of one among ``edits`` edits of a batch."""
        return cls(cost.calls, cost.rows / edits, cost.seconds / edits, processor / edits)


@undisturbed()
def edit_batch(
    backbone: Backbone, configuration: Configuration, cases: Sequence[Case], kept: Kept
) -> tuple[Pictures, Spent]:
    """Edit the pictures of ``cases`` together.

    Args:
        backbone: Loaded as the configuration says.
        configuration: Configuration of the edits.
        cases: Edits; those of one source share its inversion and its row.
        kept: Inversions that exist already; new ones are added.

    Returns:
        Edited pictures uint8 [B, 64, 64, 3] in the order of ``cases``, and what one edit took on average: calls as if it
        were alone, rows and seconds as its share of the batch, the inversion included even where it was kept.
    """
    if configuration.still:
        return _still(backbone, configuration.still, cases)
    places: dict[int, list[int]] = {}  # of the edits of each source
    for place, case in enumerate(cases):
        places.setdefault(case.source_number, []).append(place)
    sources = [cases[own[0]] for own in places.values()]
    pictures = to_tensor(render_array([case.source for case in sources]))
    tasks = tuple(
        Task(
            tuple(cases[place].prompt for place in own),
            (case.seed(configuration.seed),),
            case.source_prompt,
            picture[None],
        )
        for own, case, picture in zip(places.values(), sources, pictures, strict=True)
    )
    batch = Batch(backbone, configuration.plan, tasks, (PICTURE_SIZE, PICTURE_SIZE))
    inversion = configuration.inversion
    key = (
        *configuration.loading,
        name_of("inversion", inversion),
        repr(inversion.inversion_parameters),
        configuration.steps,
        *((case.source, case.source_prompt, task.seeds) for case, task in zip(sources, tasks, strict=True)),
    )
    if inversion.inverts and key not in kept:
        began = time.thread_time()
        start, cost = batch.invert()
        kept[key] = start, Spent.share(cost, time.thread_time() - began, len(cases))
    start, spent = kept.get(key, ([], Spent()))
    began = time.thread_time()
    edited = batch.edit(start)
    spent += Spent.share(edited.cost, time.thread_time() - began, len(cases))
    order = torch.tensor([place for own in places.values() for place in own]).argsort()
    return to_pictures(backbone.decode(edited.latents[order])), spent


def _still(backbone: Backbone, which: str, cases: Sequence[Case]) -> tuple[Pictures, Spent]:
    """Return the bounds: the source as it is, or the true target through the autoencoder."""
    if which == "source":
        return render_array([case.source for case in cases]), Spent()
    truth = to_tensor(render_array([case.target for case in cases])).to(backbone.device)
    return to_pictures(backbone.decode(backbone.encode_image(truth))), Spent()
