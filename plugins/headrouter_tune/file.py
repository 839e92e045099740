"""Read the file of a search: an experiment's data and metrics, a base configuration, and the fields to search."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, final

from pydantic import Field

from headrouter.config.configuration import Override, Placed, overridden, validate
from headrouter.config.yaml_document import Document, read_yaml
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments import read_experiment
from headrouter.experiments.composing import DEFAULTS
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.dataset import Item
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.file.listed import placed, read_one, refuse_doubles
from headrouter.experiments.file.reading import RunFile
from headrouter.experiments.file.sweep import short
from headrouter.experiments.results.rows import columns_of
from headrouter_tune.objectives import Objective, read_objectives
from headrouter_tune.reading import read_space
from headrouter_tune.space import Space

Found = TypeVar("Found")
BASE: Final = "base"
"""Name of the base configuration, with which the others are compared."""
_NOT_IN_BASE: Final = ("name", "seed", "sweep")
_DECIDING: Final = {"model", "seeds", "base", "search", "objectives", "seed", "presets"}
"""Fields of a file that the suggestions depend on beside the results."""


class SearchFile(RunFile):
    """Describes the file of a search, before the parts that it names are looked up.

    Attributes:
        base: The configuration to begin with: parts and knobs.
        search: Fields of parts and knobs, by dotted paths: ranges, and lists of values or parts.
        objectives: Two columns of the metrics.
        trials: Number of configurations that are run, the base among them.
        seed: Of the suggestions.
        presets: Names or files of presets of the base that are run first.
    """

    base: dict[str, Any]
    search: dict[str, Any]
    objectives: Annotated[list[str], Field(min_length=2, max_length=2)]
    trials: int = Field(40, ge=1, le=10_000)
    seed: int = Field(0, ge=0, lt=2**31)
    presets: list[str] = Field(default_factory=list)


@final
@dataclass(frozen=True)
class Search:
    """Holds a search, all of it checked.

    Attributes:
        file: The file's values.
        experiment: Data, metrics and seeds, with the base alone.
        space: Fields that are searched.
        objectives: The two columns.
        starts: The base, and with each preset: configurations that are run first.
        document: The base in the file, with its backbone.
    """

    file: SearchFile
    experiment: Experiment
    space: Space
    objectives: tuple[Objective, Objective]
    starts: tuple[Configuration, ...]
    document: Document

    def configured(self, name: str, values: Sequence[Placed]) -> Configuration:
        """Return the base with some values replaced.

        Raises:
            HeadRouterError: parts or values that do not fit together.
        """
        return read_one(name, self.document, self.file.model or "", values)

    def cells(self, items: Sequence[Item]) -> int:
        """Return the number of edits of the whole search, if every configuration has the seeds of the base."""
        return self.file.trials * len(self.experiment.seeds_of(self.starts[0])) * len(items)

    def plain(self, items: Sequence[Item]) -> dict[str, Any]:
        """Return all that the suggestions depend on beside the results, for the folder of the search."""
        keys = "\n".join(item.key for item in items)
        edits = f"{len(items)}, {hashlib.sha256(keys.encode()).hexdigest()[:12]}"
        return {**self.file.model_dump(mode="json", include=_DECIDING), "edits": edits}


def read_search(path: str | Path | Document, overrides: Sequence[Override] = ()) -> Search:
    """Read and check a search.

    Args:
        path: A YAML file, or a document that was read from one.
        overrides: Values that replace those of the file, by dotted paths: ``trials``, ``base.guidance``, ``dataset.count``.

    Raises:
        InvalidInputError: what is wrong: file, line, column and field. The data is not read yet.
    """
    document = path if isinstance(path, Document) else read_yaml(path)
    if not isinstance(document.data, Mapping):
        raise InvalidInputError(
            f"{document.name}: a search must be a mapping with `dataset`, `base`, `search` and `objectives` (got "
            f"{short(document.data)}), see docs/tune.md."
        )
    for override in overrides:
        document = overridden(document, override)
    file = validate(SearchFile, document)
    if idle := [name for name in _NOT_IN_BASE if name in file.base]:
        raise InvalidInputError(
            f"{document.locate(('base', idle[0]), at_key=True)}: `base.{idle[0]}` is no part of the base, which is one "
            f"configuration, named {BASE!r}, with the `seeds` of the file (got {short(file.base[idle[0]])}). Leave it out."
        )
    experiment = read_experiment(_as_experiment(document, file))
    base = document.at("base")
    base = replace(base, data={"backbone": DEFAULTS["backbone"], **base.data})
    wrong, starts = list[str](), [one for one in experiment.configurations if isinstance(one, Configuration)]
    space = _try(lambda: read_space(document.at("search"), base.data), wrong)
    columns, at = columns_of(experiment.metrics), document.locate(("objectives",))
    objectives = _try(lambda: read_objectives(file.objectives, columns, at), wrong)
    for number, preset in enumerate(file.presets):
        place = document.locate(("presets", number))
        values = [Placed(("preset",), preset, place)]
        try:
            starts.append(read_one(f"preset {Path(preset).stem}", base, file.model or "", values))
            refuse_doubles(starts)
        except HeadRouterError as error:
            wrong += placed(document.name, place, str(error).splitlines())
    if wrong or space is None or objectives is None:
        raise InvalidInputError("\n".join(wrong))
    return Search(file, experiment, space, objectives, tuple(starts), base)


def _try(read: Callable[[], Found], wrong: list[str]) -> Found | None:
    try:
        return read()
    except InvalidInputError as error:
        wrong += str(error).splitlines()
        return None


def _as_experiment(document: Document, file: SearchFile) -> Document:
    """Return the file as that of an experiment, whose one configuration is the base; its errors are placed there."""
    rest = {key: value for key, value in file.base.items() if key != "backbone"}
    data = {key: document.data[key] for key in RunFile.model_fields if key in document.data}
    data |= {"backbone": [file.base.get("backbone", DEFAULTS["backbone"])], "baseline": BASE}
    data |= {"configurations": [{"name": BASE, **rest}]}
    places = [(key,) for key in ("configurations", "backbone", "baseline")]
    moved = tuple((place, document.locate(("base",))) for place in places)
    return replace(document, data=data, replaced=(*document.replaced, *moved))
