"""Edit drawings together, without a run folder."""

from collections.abc import Sequence

import torch

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


@undisturbed()
def edit_cases(backbone: Backbone, configuration: Configuration, cases: Sequence[Case]) -> tuple[Pictures, Cost]:
    """Edit the drawings of ``cases`` as one :class:`~headrouter.editing.batch.Batch`; those of one source share its row.

    An inversion that gives the model the picture itself edits by the instructions, any other by the captions.

    Returns:
        Edited pictures uint8 [B, 64, 64, 3] in the order of ``cases``, and the cost of all, the inversion included.
    """
    places: dict[int, list[int]] = {}  # of the edits of each source
    for place, case in enumerate(cases):
        places.setdefault(case.source_number, []).append(place)
    sources = [cases[own[0]] for own in places.values()]
    pictures = to_tensor(render_array([case.source for case in sources]))
    instructed = configuration.inversion.takes_references
    tasks = tuple(
        Task(
            tuple(cases[place].instruction if instructed else cases[place].prompt for place in own),
            (case.seed(configuration.seed),),
            case.source_prompt,
            picture[None],
        )
        for own, case, picture in zip(places.values(), sources, pictures, strict=True)
    )
    batch = Batch(backbone, configuration.plan, tasks, (PICTURE_SIZE, PICTURE_SIZE))
    start, cost = batch.invert() if configuration.inversion.inverts else ([], None)
    edited = batch.edit(start)
    order = torch.tensor([place for own in places.values() for place in own]).argsort()
    found = to_pictures(backbone.decode(edited.latents[order]))
    return found, edited.cost if cost is None else cost + edited.cost
