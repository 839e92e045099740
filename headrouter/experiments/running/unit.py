"""Divide an experiment into units of work: some pictures, with all configurations that share what is computed of them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from headrouter.editing.assembly import name_of
from headrouter.experiments.configuration import AnyConfiguration, Configuration
from headrouter.experiments.dataset import Item
from headrouter.experiments.experiment import Cell, Experiment
from headrouter.experiments.run_folder.cell import CellKey
from headrouter.experiments.running.small_maps import Diagnostic


@dataclass(frozen=True, slots=True)
class Job:
    """Names a configuration with a seed.

    Attributes:
        configuration: The configuration.
        hash: Of it, in the run folder.
        seed: Of the run.
    """

    configuration: AnyConfiguration
    hash: str
    seed: int

    def key(self, item: Item) -> CellKey:
        """Return the name of a cell in records."""
        return CellKey(self.hash, item.key, self.seed)

    def cell(self, item: Item) -> Cell:
        """Return the cell of an item."""
        return Cell(self.configuration, item, self.seed)


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """Holds jobs that share inversions, and the edits that they are to make of a few pictures.

    Attributes:
        sharing: Name of what they share, a hash.
        loading: Of the model, None if there is nothing to load.
        jobs: The jobs.
        items: Edits of whole pictures.
        batch: Most edits in one model call.
        diagnostics: Maps that are kept of each edit, see :mod:`headrouter.experiments.running.small_maps`.
    """

    sharing: str
    loading: tuple[str, ...] | None
    jobs: tuple[Job, ...]
    items: tuple[Item, ...]
    batch: int
    diagnostics: tuple[Diagnostic, ...] = ()

    def claim(self, item: Item) -> str:
        """Return the name of the claim on a picture."""
        return _hash(self.sharing, item.picture_key)

    def part(self, pictures: Sequence[str]) -> "Unit":
        """Return the unit of some of its pictures alone."""
        if len(pictures) == len({item.picture_key for item in self.items}):
            return self
        return replace(self, items=tuple(item for item in self.items if item.picture_key in pictures))


def units_of(experiment: Experiment, hashes: dict[str, str], items: Sequence[Item], batch: int) -> list[Unit]:
    """Return units, those of one model together, and of them those of the same pictures.

    Args:
        experiment: The experiment.
        hashes: Of its configurations in the run folder, by key.
        items: The edits to make.
        batch: Most edits of a unit by one job; a picture with more is one all the same.
    """
    groups: dict[tuple[str, ...] | None, dict[str, list[Job]]] = {}
    for configuration in experiment.configurations:
        for seed in experiment.seeds_of(configuration):
            group = groups.setdefault(loading_of(configuration), {})
            job = Job(configuration, hashes[configuration.key], seed)
            group.setdefault(_sharing(job), []).append(job)
    chunks = list(chunks_of(items, batch))
    return [
        Unit(sharing, loading, tuple(jobs), chunk, batch, experiment.diagnostics)
        for loading, group in groups.items()
        for chunk in chunks
        for sharing, jobs in group.items()
    ]


def loading_of(configuration: AnyConfiguration) -> tuple[str, ...] | None:
    """Return the key of the model that a configuration needs, None if it needs none."""
    is_picture = isinstance(configuration, Configuration) and configuration.still == "source"
    return None if is_picture else configuration.loading


def backbone_of(configuration: AnyConfiguration) -> str:
    """Return the name of a configuration's backbone in tables; empty for an editor of another kind."""
    return configuration.group if isinstance(configuration, Configuration) else ""


def chunks_of(items: Sequence[Item], batch: int) -> Iterator[tuple[Item, ...]]:
    """Yield the edits of whole pictures, as many as make at most ``batch``, at least one picture.

    >>> from types import SimpleNamespace
    >>> items = [SimpleNamespace(picture_key=key) for key in "aaabbcdddd"]
    >>> ["".join(item.picture_key for item in chunk) for chunk in chunks_of(items, 3)]
    ['aaa', 'bbc', 'dddd']
    """
    chunk: list[Item] = []
    pictures: dict[str, list[Item]] = {}
    for item in items:
        pictures.setdefault(item.picture_key, []).append(item)
    for own in pictures.values():
        if chunk and len(chunk) + len(own) > batch:
            yield tuple(chunk)
            chunk = []
        chunk += own
    if chunk:
        yield tuple(chunk)


def _sharing(job: Job) -> str:
    """Return the same name for jobs with the same inversion: one after the other they can use it."""
    one = job.configuration
    if not isinstance(one, Configuration) or one.still or not one.inversion.inverts:
        return _hash(job.hash, job.seed)
    seed = job.seed if "invert" in one.inversion.seeded else None
    inversion = name_of("inversion", one.inversion), one.inversion.inversion_parameters
    return _hash(one.loading, one.size, one.area, one.steps, inversion, one.plan.inverting_operators, seed)


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
