"""Compare edits by head weights from a measured profile with those from the edit at hand. Drawn world only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from PIL import Image

from headrouter.editing.assembly import changed
from headrouter.experiments.statistics import mean
from headrouter.methods.head_router.head_routing import RoutingParameters
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.head_router.window import Window
from headrouter.methods.method import Method
from headrouter.sampling.inversion import Inversion
from headrouter_analysis.analyses.pairs import chosen_semantics
from headrouter_analysis.methods.routing import ProfileRouting
from headrouter_analysis.profile import By, Profile
from headrouter_analysis.runs import Runs, batches
from headrouter_analysis.statistics import Array

if TYPE_CHECKING:
    from headrouter_shapes.world.scene import Scene

VARIANTS: Final = ("plain", "instance-adaptive", "profile", "profile, shuffled")
MEASURES: Final = ("edited", "kept", "error")
"""Whether the edited semantic is as asked; the share of the other seven that is as before; RMS distance to the truth, of 255."""
SHARED: Final = (*RoutingParameters.model_fields, *Window.model_fields)
"""Parameters that both ways of routing have."""


@final
@dataclass(frozen=True, slots=True)
class _Job:
    semantic: str
    scene: "Scene"
    target: "Scene"
    wording: int
    seed: int


@final
@dataclass(frozen=True, eq=False)
class RoutingTrial:
    """Edits by each way of routing.

    Attributes:
        semantics: Semantic of each edit.
        values: ``[variant, edit, measure]``.
    """

    semantics: tuple[str, ...]
    values: Array

    def mean(self, variant: str) -> dict[str, Any]:
        """Return each measure with its 95 % interval."""
        place = VARIANTS.index(variant)
        return {name: mean(self.values[place, :, number]).as_dict() for number, name in enumerate(MEASURES)}

    def difference(self, first: str, second: str) -> dict[str, Any]:
        """Return each measure, first minus second, edit by edit, with its 95 % interval."""
        values = self.values[VARIANTS.index(first)] - self.values[VARIANTS.index(second)]
        return {name: mean(values[:, number]).as_dict() for number, name in enumerate(MEASURES)}


def try_routing(
    runs: Runs,
    inversion: Inversion,
    profile: str,
    *,
    edits: int,
    router: HeadRouter | None = None,
    by: By = "sensitivity",
    semantics: Sequence[str] = (),
    seed: int = 0,
    batch: int = 8,
    progress: bool = False,
) -> RoutingTrial:
    """Edit drawn scenes, ``edits`` of each semantic, in four ways from one inversion, and read the results.

    γ, k, δ, the form, the steps and what a weight acts on are those of ``router``, the same for all. Refinement of tokens is off:
    head weights alone differ.
    """
    from headrouter_shapes.world.caption import VARIANTS as WORDINGS
    from headrouter_shapes.world.caption import caption
    from headrouter_shapes.world.render import render_array
    from headrouter_shapes.world.scene import edit, sample_scene

    adaptive = changed(router or HeadRouter(), {"image_tokens": "off", "rho": 0.0})
    shared = {name: getattr(adaptive, name) for name in SHARED}
    known = Profile.load(profile).semantics
    jobs: list[_Job] = []
    for semantic in chosen_semantics(known, semantics):
        generator = np.random.default_rng((seed, 11, known.index(semantic)))
        for number in range(edits):
            scene = sample_scene(generator)
            target, wording = edit(scene, semantic, generator), int(generator.integers(WORDINGS))
            jobs.append(_Job(semantic, scene, target, wording, seed * 1_000_003 + number))
    found: list[list[Array]] = [[] for _ in VARIANTS]
    for part in _by_semantic(jobs, batch, progress):
        semantic = part[0].semantic
        variants: list[list[Method]] = [
            [],
            [adaptive],
            [ProfileRouting(profile=profile, semantic=semantic, by=by, **shared)],
            [ProfileRouting(profile=profile, semantic=semantic, by=by, shuffle=seed, **shared)],
        ]
        drawn = [Image.fromarray(one) for one in render_array([job.scene for job in part])]
        texts = [(caption(job.scene, job.wording), caption(job.target, job.wording)) for job in part]
        edited = runs.edit(inversion, drawn, texts, [job.seed for job in part], variants)
        for place, pictures in enumerate(edited):
            found[place].append(_measured(pictures, [job.target for job in part], semantic))
    return RoutingTrial(tuple(job.semantic for job in jobs), np.stack([np.concatenate(parts) for parts in found]))


def _by_semantic(jobs: Sequence[_Job], size: int, progress: bool) -> Iterator[list[_Job]]:
    """Yield batches none of which holds two semantics."""
    groups: list[list[_Job]] = []
    for job in jobs:
        if not groups or groups[-1][0].semantic != job.semantic or len(groups[-1]) == size:
            groups.append([])
        groups[-1].append(job)
    for (group,) in batches(groups, 1, "batches", progress=progress):
        yield group


def _measured(pictures: Sequence[Image.Image], targets: Sequence["Scene"], semantic: str) -> Array:
    """Return the measures [edit, measure]."""
    from headrouter_shapes.world.oracle import read
    from headrouter_shapes.world.render import render_array

    pixels = np.stack([np.asarray(picture) for picture in pictures])
    distance = np.sqrt(np.square(pixels.astype(np.float64) - render_array(targets)).mean(axis=(1, 2, 3)))
    rows = []
    for reading, target, error in zip(read(pixels), targets, distance, strict=True):
        right = {name: reading.attributes[name] == value for name, value in target.attributes.items()}
        rows.append([right.pop(semantic), np.mean(list(right.values())), error])
    return np.array(rows, dtype=np.float64)
