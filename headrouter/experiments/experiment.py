"""Define experiments: a data set, metrics, the configurations that are compared, and their cells."""

import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from headrouter.editing.assembly import name_of
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import AnyConfiguration, Configuration, OtherConfiguration, hash_of
from headrouter.experiments.dataset import Dataset, Item
from headrouter.experiments.executor import Executor
from headrouter.experiments.metric import Metric
from headrouter.experiments.published.choice import Chosen
from headrouter.experiments.running.small_maps import Diagnostic
from headrouter.plugins.code import code_of

SEED_STRIDE: Final = 1000
"""Between the noise of two seeds, in numbers of pictures; pictures from this number on have noise far beyond."""
_KEY: Final = re.compile(r"[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Cell:
    """Holds one edit to be done: an item of the data set, by a configuration, with the noise of a seed."""

    configuration: AnyConfiguration
    item: Item
    seed: int

    @property
    def key(self) -> str:
        """Return the cell's path in a run folder, ``sd3.5/rf/0/000000000001``, unique in an experiment."""
        return f"{self.configuration.key}/{self.seed}/{self.item.key}"

    @property
    def noise_seed(self) -> int:
        """Return the seed of all noise of the picture, another one for every picture and seed.

        It depends on the picture's number alone, not on the size of the set: a part of a set has the noise of the whole.
        """
        number = self.item.number
        return SEED_STRIDE * self.seed + number if number < SEED_STRIDE else 2**42 + 10**9 * self.seed + number


@dataclass(frozen=True, slots=True)
class Skipped:
    """Holds a combination of a matrix that cannot be run, and why.

    Attributes:
        group: Its backbone.
        name: Name that the configuration would have.
        reason: Sentence that says why.
    """

    group: str
    name: str
    reason: str


@dataclass(frozen=True)
class Experiment:
    """Describes a comparison: everything is validated, with presets, sweeps and defaults applied.

    Attributes:
        name: For tables and the run folder.
        dataset: Pictures, and the edits to make of them.
        metrics: By the label under which records have their columns, ``psnr-1``.
        configurations: The ways of editing, those of one model one after the other; their keys differ.
        seeds: Of the noise, each a level of its own in the statistics.
        baseline: Name of the configuration that the others are compared with, ``rf``, or its key; empty for none.
        diagnostics: Maps that are kept of each edit beside its picture, for the report; results do not depend on them.
        skipped: Combinations of the matrix that are left out.
        executor: Of the file; results do not depend on it. None for workers on this machine.
        published: Tables of published figures that the report prints beside the results; no result depends on them.

    Raises:
        InvalidInputError: no configuration, two with one key, or a baseline that is none of them.
    """

    name: str
    dataset: Dataset
    metrics: Mapping[str, Metric]
    configurations: tuple[AnyConfiguration, ...]
    seeds: tuple[int, ...] = (0,)
    baseline: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()
    skipped: tuple[Skipped, ...] = field(default=(), compare=False)
    executor: Executor | None = field(default=None, compare=False)
    published: tuple[Chosen, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Refuse an experiment without configurations, with equal keys or an unknown baseline."""
        if not self.configurations:
            raise InvalidInputError(
                f"experiment {self.name!r} compares nothing: it has no configuration."
                + "".join(f" {one.group} {one.name} is left out: {one.reason}" for one in self.skipped[:3])
            )
        twice = [key for key, count in Counter(one.key for one in self.configurations).items() if count > 1]
        if twice:
            raise InvalidInputError(f"the name {twice[0]!r} stands for two configurations; give each its own.")
        if self.diagnostics and not any(
            isinstance(one, Configuration) and not one.still for one in self.configurations
        ):
            raise InvalidInputError(
                f"`diagnostics` {list(self.diagnostics)} are recorded by methods, and no configuration is a composition of parts. "
                "Leave them out."
            )
        if self.baseline and not any(self.baseline in (one.name, one.key) for one in self.configurations):
            known = ", ".join(dict.fromkeys(one.name for one in self.configurations))
            raise InvalidInputError(f"`baseline` {self.baseline!r} is none of the configurations: {known}.")

    @property
    def dataset_name(self) -> str:
        """Return the registered name of the data set."""
        return name_of("dataset", self.dataset)

    @functools.cached_property
    def items(self) -> Sequence[Item]:
        """Return the edits of the data set, read and checked once.

        Raises:
            InvalidInputError: all that is wrong with the data, or a metric or editor needs a thing that an item lacks.
        """
        return checked_items(self)

    def of(self, *configurations: AnyConfiguration) -> "Experiment":
        """Return the experiment with other configurations, over the same data, which is not read again.

        Raises:
            InvalidInputError: an item lacks a thing that one of them needs.
        """
        baseline = self.baseline if any(self.baseline in (one.name, one.key) for one in configurations) else ""
        other = replace(self, configurations=configurations, baseline=baseline)
        other.__dict__["items"] = checked_items(other, self.items)
        return other

    def seeds_of(self, configuration: AnyConfiguration) -> tuple[int, ...]:
        """Return the seeds that a configuration is run with: only the first where it draws no noise."""
        return self.seeds if configuration.draws_noise else self.seeds[:1]

    def cells(self, items: Sequence[Item] | None = None) -> Iterator[Cell]:
        """Yield the cells of all or some items: by configuration, seed and item, in their order."""
        chosen = self.items if items is None else items
        for configuration in self.configurations:
            for seed in self.seeds_of(configuration):
                for item in chosen:
                    yield Cell(configuration, item, seed)

    def baseline_of(self, configuration: AnyConfiguration) -> AnyConfiguration | None:
        """Return the configuration that this one is compared with: the baseline of its own group before any other.

        None where there is no baseline, and for the baseline itself.
        """
        found = [one for one in self.configurations if self.baseline in (one.name, one.key)]
        own = [one for one in found if one.group == configuration.group]
        best = next(iter(own or found), None)
        return None if best is configuration else best

    def describe(self) -> dict[str, Any]:
        """Return plain data with all that the results depend on, for the lock file of a run."""
        return {
            "name": self.name,
            "dataset": {
                **_parameters("dataset", self.dataset),
                "revision": self.dataset.revision,
                "code": _code(self.dataset),
            },
            "metrics": {
                label: {**_parameters("metric", one), "revision": one.revision, "code": _code(one)}
                for label, one in self.metrics.items()
            },
            "configurations": {one.key: one.hash for one in self.configurations},
            "seeds": list(self.seeds),
            "baseline": self.baseline,
        }

    @functools.cached_property
    def hash(self) -> str:
        """Return the hash of :meth:`describe`; 16 hexadecimal digits."""
        return hash_of(self.describe())


def _parameters(kind: Any, part: Dataset | Metric) -> dict[str, Any]:
    return {"name": name_of(kind, part), **part.model_dump(mode="json")}


def _code(part: Dataset | Metric) -> dict[str, Any]:
    return {name: one.model_dump() for name, one in code_of((part,)).items()}


def checked_items(experiment: Experiment, read: Sequence[Item] | None = None) -> Sequence[Item]:
    """Return the items of an experiment's data set, after checking keys and the needs of metrics and editors.

    Args:
        experiment: The experiment.
        read: The items, where they have been read already.

    Raises:
        InvalidInputError: naming the items.
    """
    items = experiment.dataset.items() if read is None else read
    name = name_of("dataset", experiment.dataset)
    if not items:
        raise InvalidInputError(f"`dataset` {name!r} has no edits with these parameters. Take a larger part of it.")
    wrong = [
        f"`dataset` {name!r}: the key {key!r} {'is there twice' if count > 1 else 'cannot name a file'}."
        for key, count in Counter(item.key for item in items).items()
        if count > 1 or not _KEY.fullmatch(key)
    ]
    needs = [(f"metric {label!r}", metric.needs) for label, metric in experiment.metrics.items()]
    others = [one for one in experiment.configurations if isinstance(one, OtherConfiguration)]
    needs += [(f"editor {one.name!r}", one.editor.needs) for one in others]
    if any(isinstance(one, Configuration) and one.inversion.takes_references for one in experiment.configurations):
        needs.append(("an inversion by instructions", frozenset({"instruction"})))
    for who, words in needs:
        for word in sorted(words):
            lacking = [item.key for item in items if not item.has(word)]
            if lacking:
                some = ", ".join(lacking[:3]) + (" …" if len(lacking) > 3 else "")
                wrong.append(
                    f"{who} needs the `{word}` of every edit, and {len(lacking)} of the data set {name!r} have none: {some}. "
                    "Leave it out, or choose another data set."
                )
    if wrong:
        raise InvalidInputError("\n".join(wrong))
    return items
