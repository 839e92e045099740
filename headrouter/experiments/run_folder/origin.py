"""Describe what made results, and compare two such descriptions."""

import json
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from headrouter.editing.record import differences
from headrouter.editing.record_file import record_from
from headrouter.errors import HeadRouterError
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.file.entries import entry_of
from headrouter.plugins import registry
from headrouter.plugins.code import commit

FORMAT: Final = 1


@dataclass(frozen=True)
class Origin:
    """Holds what made the results of a run folder, as plain data.

    Attributes:
        top: Format, name of the experiment, number of items, baseline, data set with its revision and code, environment.
        configurations: By key, ``sd3.5/rf``: name, group, seeds, place among the others, hash, and what the hash is of, weights and
            code included, and ``file``, as a file of an experiment describes it.
        metrics: By label: parameters, weights, code and columns.
    """

    top: Mapping[str, Any]
    configurations: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @classmethod
    def of(cls, experiment: Experiment) -> "Origin":
        """Describe an experiment, without the environment."""
        plain = experiment.describe()
        configurations = {
            one.key: {
                "name": one.name,
                "group": one.group,
                "hash": one.hash,
                "seeds": list(experiment.seeds_of(one)),
                "place": place,
                "describes": one.describe(),
                "file": entry_of(one),
            }
            for place, one in enumerate(experiment.configurations)
        }
        columns = {
            label: {name: asdict(column) for name, column in one.columns.items()}
            for label, one in experiment.metrics.items()
        }
        metrics = {label: {**one, "columns": columns[label]} for label, one in plain["metrics"].items()}
        top = {
            "format": FORMAT,
            "experiment": experiment.name,
            "items": len(experiment.items),
            "baseline": experiment.baseline,
            "dataset": plain["dataset"],
        }
        return cls(*json.loads(json.dumps([top, configurations, metrics])))


@dataclass(frozen=True)
class Contradiction:
    """Holds a difference between two origins.

    Attributes:
        kind, name: Entry of the origin.
        file: Its file in the run folder.
        sentence: What differs.
        code: Whether that is the code alone.
    """

    kind: Literal["lock", "configurations", "metrics"]
    name: str
    file: str
    sentence: str
    code: bool = False


def environment() -> dict[str, Any]:
    """Return commit, packages, plug-ins and machine, for whoever wants to do a run again."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": dict(sorted(_packages())),
        "plugins": {row.name: f"{row.distribution}, {row.status}" for row in registry().statuses},
    }


def _packages() -> Iterator[tuple[str, str]]:
    """Yield name and version of each installed package, by the names of their folders, which is quick."""
    for place in reversed(sys.path):
        for folder in Path(place or ".").glob("*.dist-info"):
            name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
            yield name.replace("_", "-").lower(), version


def contradictions(there: Origin, here: Origin) -> list[Contradiction]:
    """Name all that both have and that differs; ``there`` is the folder's."""
    return [*_of_the_folder(there.top, here.top), *_of_configurations(there, here), *_of_metrics(there, here)]


def _of_the_folder(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[Contradiction]:
    def found(sentence: str, code: bool = False) -> Contradiction:
        return Contradiction("lock", "", "lock.json", sentence, code)

    if there.get("format") != FORMAT:
        yield found(f"the folder has format {there.get('format')!r}, this headrouter reads {FORMAT}.")
    elif there.get("experiment") != here["experiment"]:
        yield found(f"the folder holds the experiment {there.get('experiment')!r}, not {here['experiment']!r}.")
    elif differ := differences(there.get("dataset"), here["dataset"], "dataset"):
        code = all(one.startswith("dataset.code") for one in differ)
        yield found(f"it holds results of {'other code' if code else 'other data'}: {'; '.join(differ)}.", code)


def _of_configurations(there: Origin, here: Origin) -> Iterator[Contradiction]:
    for key, ours in here.configurations.items():
        theirs = there.configurations.get(key, ours)
        if theirs["hash"] != ours["hash"]:
            differ = _of_records(theirs.get("describes"), ours["describes"])
            code = bool(differ) and all(one.startswith("code") for one in differ)
            other = "other code" if code else f"another configuration named {ours['name']!r}"
            sentence = f"it holds results of {other}: {'; '.join(differ) or 'its hash'}."
            yield Contradiction("configurations", key, f"configurations/{key}.json", sentence, code)


def _of_metrics(there: Origin, here: Origin) -> Iterator[Contradiction]:
    for label, ours in here.metrics.items():
        if differ := differences(there.metrics.get(label, ours), ours):
            code = all(one.startswith("code") for one in differ)
            other = "by other code" if code else f"of another metric labelled {label!r}"
            sentence = f"it holds measures {other}: {'; '.join(differ)}."
            yield Contradiction("metrics", label, f"metrics/{label}.json", sentence, code)


def _of_records(theirs: Any, ours: Mapping[str, Any]) -> list[str]:
    if not (isinstance(theirs, Mapping) and "headrouter" in theirs and "headrouter" in ours):
        return differences(theirs, ours)
    try:
        return record_from(theirs).differences(record_from(ours))
    except (HeadRouterError, AttributeError, TypeError) as error:
        return [f"it is damaged, {error}"]
