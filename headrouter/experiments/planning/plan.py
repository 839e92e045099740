"""Plan an experiment: its cells, model calls, time and memory, the pairs that are skipped, and all that is missing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.configuration import AnyConfiguration, Configuration
from headrouter.experiments.dataset import Item
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.planning.estimates import Pace
from headrouter.experiments.planning.memory import missing_weights_of, weight_bytes
from headrouter.experiments.planning.rehearsal import Calls, rehearse


@final
@dataclass(frozen=True)
class Planned:
    """Holds what one configuration will take.

    Attributes:
        configuration: The configuration.
        cells: Edits that are done, over all seeds.
        calls: Model calls, each picture alone with its edits; inversions that an earlier configuration made are not counted.
        rows: Rows in them, at most.
        seconds: Estimate for all cells; None where nothing is known.
    """

    configuration: AnyConfiguration
    cells: int
    calls: int
    rows: int
    seconds: float | None


@final
@dataclass(frozen=True)
class Plan:
    """Holds what an experiment will do.

    Attributes:
        experiment: The experiment.
        items: Of the data set that are run.
        pictures: Number of pictures among them.
        configurations: What each takes.
        memory: Bytes of the weights of each model, by the group of its configurations.
        missing: A sentence for each network and set of weights that is not here.
        pace: Source of the estimates of time; None if there is none.
    """

    experiment: Experiment
    items: Sequence[Item]
    pictures: int
    configurations: tuple[Planned, ...]
    memory: dict[str, int]
    missing: tuple[str, ...]
    pace: Pace | None

    @property
    def cells(self) -> int:
        """Return the number of cells."""
        return sum(one.cells for one in self.configurations)

    @property
    def calls(self) -> int:
        """Return the number of model calls, each picture alone."""
        return sum(one.calls for one in self.configurations)

    @property
    def rows(self) -> int:
        """Return the number of rows, at most."""
        return sum(one.rows for one in self.configurations)

    @property
    def seconds(self) -> float | None:
        """Return the estimate of the whole, by one worker; None where a part of it is unknown."""
        known = [one.seconds for one in self.configurations]
        return None if None in known else sum(one for one in known if one is not None)

    def refuse_missing(self) -> None:
        """Refuse to run while networks or weights are missing.

        Raises:
            InvalidInputError: naming all of them.
        """
        if self.missing:
            raise InvalidInputError("this experiment cannot run:\n" + "\n".join(f"- {one}" for one in self.missing))


def plan(experiment: Experiment, items: Sequence[Item] | None = None, pace: Pace | None = None) -> Plan:
    """Plan an experiment without loading or running anything.

    Args:
        experiment: The experiment.
        items: Those of :func:`headrouter.experiments.select`; all if None.
        pace: Of earlier cells, see :mod:`headrouter.experiments.planning.estimates`.

    Raises:
        InvalidInputError: all that is wrong with the data.
    """
    chosen = experiment.items if items is None else items
    edits = list(Counter(item.picture_key for item in chosen).values())
    inverted = set[tuple[object, ...]]()
    planned = []
    for one in experiment.configurations:
        seeds = len(experiment.seeds_of(one))
        cells = seeds * len(chosen)
        calls = rows = 0
        if isinstance(one, Configuration) and not one.still:
            found = rehearse(one.plan, heard="words" in experiment.diagnostics)
            new = _is_new_inversion(one, inverted)
            runs = seeds if "invert" in one.inversion.seeded else 1
            calls = len(edits) * (seeds * found.sampling + new * runs * found.inversion)
            rows = _rows(found, edits, seeds) + new * runs * len(edits) * found.inversion_rows
        seconds = None if pace is None else 0.0 if _is_still(one) else pace.seconds(one, cells, rows)
        planned.append(Planned(one, cells, calls, rows, seconds))
    return Plan(
        experiment, chosen, len(edits), tuple(planned), _memory(experiment), tuple(missing_of(experiment)), pace
    )


def _rows(found: Calls, edits: Sequence[int], seeds: int) -> int:
    return seeds * sum(found.rows(count) for count in edits)


def _is_still(configuration: AnyConfiguration) -> bool:
    return isinstance(configuration, Configuration) and bool(configuration.still)


def _is_new_inversion(configuration: Configuration, inverted: set[tuple[object, ...]]) -> bool:
    """Note the inversion of a configuration; False if an earlier one has made the same latents."""
    inversion = configuration.inversion
    key = (
        *configuration.loading,
        configuration.size,
        type(inversion),
        repr((inversion.inversion_parameters, configuration.plan.inverting_operators)),
        configuration.steps,
        configuration.negative_prompt if configuration.plan.inversion_is_guided else "",
    )
    if key in inverted:
        return False
    inverted.add(key)
    return True


def _memory(experiment: Experiment) -> dict[str, int]:
    models = {one.loading: one for one in experiment.configurations if isinstance(one, Configuration)}
    return {one.group: weight_bytes(one) for one in models.values()}


def missing_of(experiment: Experiment) -> list[str]:
    """Return a sentence for each metric's network, editor and set of weights that is not here."""
    missing: list[str] = []
    for label, metric in experiment.metrics.items():
        try:
            metric.check()
        except HeadRouterError as error:  # noqa: PERF203
            missing.append(f"metric {label}: {error}")
    models = {one.loading: one for one in experiment.configurations}
    for one in models.values():
        if isinstance(one, Configuration):
            missing += filter(None, [missing_weights_of(one)])
            continue
        try:
            one.editor.check()
        except HeadRouterError as error:
            missing.append(f"editor {one.name}: {error}")
    return missing
