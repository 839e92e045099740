"""Run a search: ask for configurations, make their edits in a run folder, and report the results to the sampler.

A search keeps nothing of its own but what it is. Begun again, it asks the same sampler for the same suggestions, and finds the
results of those that were run in the run folder.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import optuna

from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.dataset import Item
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.run_folder.cell import EDIT, CellKey, CellRecord
from headrouter.experiments.run_folder.lock import LOCK
from headrouter.experiments.run_folder.reading import records_by_key
from headrouter.experiments.running.bar import bar
from headrouter.experiments.running.models import KeptModels
from headrouter.experiments.running.runner import BATCH, run
from headrouter.experiments.statistics import Estimate
from headrouter.files import LARGEST_TEXT, read_file, write_whole
from headrouter.imaging.picture import writable_folder
from headrouter_tune.file import Search
from headrouter_tune.front import non_dominated
from headrouter_tune.space import located, suggested

FILE: Final = "tune.json"
_IDLE: Final = 200
"""Suggestions in a row that bring no new configuration, after which a search has run out of them."""
_LONGEST: Final = 200
"""Letters of a configuration's name."""


@final
@dataclass(frozen=True, eq=False)
class Point:
    """Holds a configuration that was run.

    Attributes:
        number: In the order of the search; 0 is the base.
        configuration: The configuration.
        rows: Its finished edits.
        failed: Number of edits that failed, or could not be measured; then it has no values.
        estimates: Of the two objectives, with intervals.
    """

    number: int
    configuration: Configuration
    rows: Sequence[CellRecord]
    failed: int
    estimates: tuple[Estimate, Estimate]

    @property
    def values(self) -> tuple[float, float] | None:
        """Return the objectives; None if an edit failed, or one is undefined, as what successes preserve without any success."""
        first, second = (one.value for one in self.estimates)
        return None if self.failed or math.isnan(first) or math.isnan(second) else (first, second)


@final
@dataclass(eq=False)
class Outcome:
    """Holds what came of a search.

    Attributes:
        points: Configurations that were run, in their order.
        impossible: Suggestions that no run can follow, and why.
        repeated: Suggestions of configurations that were run already.
        exhausted: Whether the search ended because there was nothing new.
    """

    points: list[Point] = field(default_factory=list)
    impossible: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    exhausted: bool = False


def run_search(
    search: Search,
    folder: Path,
    items: Sequence[Item],
    *,
    workers: int | None = None,
    batch: int = BATCH,
    device: str = "auto",
    progress: bool = True,
    report: Callable[[CellRecord], None] | None = None,
) -> Outcome:
    """Run the base, its presets and suggestions until there are as many configurations as asked for.

    Args:
        search: The search.
        folder: Its run folder, new or begun before.
        items: Edits of the data set.
        workers, batch, device, progress, report: As in :func:`headrouter.experiments.running.runner.run`.

    Raises:
        HeadRouterError: the folder is that of another search, or what the runner raises.
    """
    refuse_other_search(folder, search, items)
    if not (folder / FILE).exists():
        write_whole(writable_folder(folder) / FILE, (json.dumps(_plain(search, items), indent=2) + "\n").encode())
    with bar(search.cells(items), shown=progress) as counted:

        def count(record: CellRecord) -> None:
            counted.update()
            if report is not None:
                report(record)

        options = {"workers": workers, "batch": batch, "device": device, "progress": False, "models": KeptModels()}
        running = _Running(search, folder, items, counted, {**options, "report": count})
        running.complete()
    return running.outcome


def refuse_other_search(folder: Path, search: Search, items: Sequence[Item]) -> None:
    """Refuse a folder of another search: from other results other suggestions would follow.

    Raises:
        InvalidInputError: naming what differs.
    """
    path, ours = folder / FILE, _plain(search, items)
    if path.exists():
        try:
            theirs = json.loads(read_file(path, "search", LARGEST_TEXT))
            differ = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidInputError(f"'{path}' is damaged: {error}. Move the folder away to start anew.") from error
        if differ:
            raise InvalidInputError(
                f"'{path}': the folder holds a search with another {', '.join(f'`{name}`' for name in differ)}, whose suggestions "
                "this one would not continue. Choose another folder, or continue with what began it."
            )
    elif (folder / LOCK).exists():
        raise InvalidInputError(
            f"'{folder}' holds an experiment and no search: it has no {FILE}. Choose another folder."
        )


def _plain(search: Search, items: Sequence[Item]) -> dict[str, Any]:
    return {"optuna": optuna.__version__, **search.plain(items)}


@final
class _Running:
    def __init__(self, search: Search, folder: Path, items: Sequence[Item], bar: Any, options: Mapping[str, Any]):
        self._search, self._folder, self._items, self._bar, self._options = search, folder, items, bar, options
        self._kept = records_by_key(folder) if (folder / LOCK).is_file() else {}
        self._known: dict[str, Point] = {}
        self.outcome = Outcome()

    def complete(self) -> None:
        """Run what is asked for."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        search = self._search
        study = optuna.create_study(
            directions=[one.direction for one in search.objectives],
            sampler=optuna.samplers.TPESampler(seed=search.file.seed),
        )
        for start in search.starts[: search.file.trials]:
            self._point(start)
            if (known := located(search.space, start)) is not None:
                study.enqueue_trial(known)  # so that the sampler learns of it
        idle = 0
        while len(self.outcome.points) < search.file.trials and not self.outcome.exhausted:
            trial = study.ask()
            values, words = suggested(search.space, trial)
            name = f"{len(self.outcome.points):03d} {words}"
            try:
                configuration = search.configured(name if len(name) <= _LONGEST else name[:_LONGEST] + "…", values)
            except HeadRouterError as error:  # values of several fields that do not go together
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                self.outcome.impossible[words] = " ".join(str(error).split())
                idle += 1
            else:
                repeated = configuration.hash in self._known
                idle = idle + 1 if repeated else 0
                self.outcome.repeated += repeated
                if (found := self._point(configuration).values) is None:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                else:
                    study.tell(trial, found)
            self.outcome.exhausted = idle >= _IDLE

    def _point(self, configuration: Configuration) -> Point:
        """Return a configuration with its results, which are made unless they are there."""
        if configuration.hash not in self._known:
            rows = self._rows(configuration)
            done = [one for one in rows if one.edited]
            first, second = (objective.estimated(done) for objective in self._search.objectives)
            number = len(self.outcome.points)
            point = Point(number, configuration, done, sum(map(self._failed, rows)), (first, second))
            self._known[configuration.hash] = point
            self.outcome.points.append(point)
            self._show()
        return self._known[configuration.hash]

    def _failed(self, record: CellRecord) -> bool:
        return bool({EDIT, *(one.metric for one in self._search.objectives)} & set(record.failures))

    def _rows(self, configuration: Configuration) -> Sequence[CellRecord]:
        """Return the edits of a configuration, after making those that are not there yet.

        To open the folder takes longer with each of its edits. So once a configuration went through the runner, which refuses
        other code and data, those that were whole when the search began again are taken as they were.
        """
        experiment, before = self._search.experiment.of(configuration), self._bar.n
        cells = [CellKey(configuration.hash, cell.item.key, cell.seed) for cell in experiment.cells(self._items)]
        kept = {one.cell: one for one in self._kept.get(configuration.key, ()) if _is_whole(one, experiment)}
        if self._known and kept.keys() >= set(cells):
            rows = [kept[cell] for cell in cells]
        else:
            self._bar.set_description(configuration.name[:40])
            rows = run(experiment, self._folder, items=self._items, **self._options)
        self._bar.update(before + len(rows) - self._bar.n)
        return rows

    def _show(self) -> None:
        """Show the front's best value of each objective, which its two ends have."""
        front = non_dominated(self.outcome.points, self._search.objectives)
        best = ", ".join(
            f"{one.column.title or one.name} {end.estimates[place].value:.3g}"
            for place, (one, end) in enumerate(zip(self._search.objectives, (*front[:1], *front[-1:]), strict=False))
        )
        self._bar.set_postfix_str(f"{len(front)} on the front, best {best}" if best else "nothing yet")


def _is_whole(record: CellRecord, experiment: Experiment) -> bool:
    return EDIT in record.failures or set(experiment.metrics) <= {*record.measures, *record.failures}
