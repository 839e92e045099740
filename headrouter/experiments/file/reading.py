"""Read an experiment from YAML: data set, metrics, seeds, a matrix of parts, configurations, other editors, a baseline."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BeforeValidator, Field, StringConstraints

from headrouter.config.configuration import Override, Parameters, overridden, validate
from headrouter.config.yaml_document import Document, read_yaml
from headrouter.editing.assembly import name_of
from headrouter.editing.request import Seeds
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.composing import DEFAULTS
from headrouter.experiments.configuration import AnyConfiguration, Configuration, OtherConfiguration
from headrouter.experiments.dataset import Dataset
from headrouter.experiments.experiment import Experiment, Skipped
from headrouter.experiments.file.listed import placed, read_listed
from headrouter.experiments.file.matrix import KNOBS, read_matrix
from headrouter.experiments.file.options import Option, read_options, read_part
from headrouter.experiments.file.references import Still, references_of
from headrouter.experiments.file.sweep import MOST, short
from headrouter.experiments.metric import Metric
from headrouter.experiments.published.choice import Chosen, PublishedChoice, chosen_tables
from headrouter.experiments.running.small_maps import Diagnostic
from headrouter.plugins.specifications import KINDS, Kind

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Found = TypeVar("Found")
_none_as_empty: Final = BeforeValidator(lambda value: [] if value is None else value)
"""Takes a list all of whose entries are commented out."""
OF_ALL: Final = (*(kind for kind in KINDS if kind != "backbone"), *KNOBS)
"""First words of a path that stand for every configuration: ``--set steps=10``, ``--set method.gamma=0.3``."""


class RunFile(Parameters):
    """Describes the keys that every file of a run over a data set may have, those of data, metrics and workers.

    Attributes:
        name: Of the run; the file's name if not given.
        dataset: Name of a data set, or a mapping of its name and parameters.
        metrics: Names of metrics, or mappings of name, parameters and a ``label``.
        seeds: Numbers that noise is drawn from, or one.
        model: Weights of backbones that name none of their own.
        diagnostics: Maps to keep of each edit for the report: ``mask``, ``words``, ``heads``.
        executor: Where the workers are: a name, or a mapping of name and parameters. Results do not depend on it.
    """

    name: Text | None = None
    dataset: str | dict[str, Any]
    metrics: Annotated[str | list[str | dict[str, Any]], _none_as_empty] = Field(default_factory=list)
    seeds: Seeds = (0,)
    model: Text | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    executor: str | dict[str, Any] | None = None


class ExperimentFile(RunFile):
    """Describes the file of an experiment: its keys, before the parts that they name are looked up.

    Attributes:
        matrix: Kinds of part and their options: every combination is a configuration.
        configurations: One by one: ``name``, parts, knobs and a ``sweep``.
        backbone: Of the configurations that are listed: one or several.
        editors: Other editors: names, or mappings of name, parameters and a ``label``.
        baseline: Name of the configuration that the others are compared with.
        references: Pictures that are no edits, through each model's autoencoder: ``source`` and ``target``.
        published: Tables of published figures that the report prints beside the results.
    """

    matrix: Any = None
    configurations: Annotated[list[Any], _none_as_empty] = Field(default_factory=list)
    backbone: Any = DEFAULTS["backbone"]
    editors: Annotated[list[str | dict[str, Any]], _none_as_empty] = Field(default_factory=list)
    baseline: Text | None = None
    references: tuple[Still, ...] = ()
    published: Annotated[list[PublishedChoice], _none_as_empty] = Field(default_factory=list)


def read_experiment(path: str | Path | Document, overrides: Sequence[Override] = ()) -> Experiment:
    """Read an experiment from a file.

    Args:
        path: A YAML file, or a document that was read from one.
        overrides: Values that replace those of the file, by dotted paths: ``dataset.count``, ``matrix.inversion.0.eta``. Paths
            that begin with ``inversion``, ``method`` or a knob, ``steps``, replace those of every configuration.

    Raises:
        InvalidInputError: everything that is wrong, at once: file, line, column and field. The data is not read yet.
    """
    document = path if isinstance(path, Document) else read_yaml(path)
    if not isinstance(document.data, Mapping):
        raise InvalidInputError(
            f"{document.name}: an experiment must be a mapping with a `dataset` (got {short(document.data)}). "
            "`headrouter experiment init` writes one."
        )
    every = [one for one in overrides if one.path[0] in OF_ALL]
    for override in overrides:
        if override not in every:
            document = overridden(document, override)
    return _Reading(document, every, as_written=not overrides).experiment()


class _Reading:
    """Reads the parts of one file, and collects what is wrong."""

    def __init__(self, document: Document, overrides: Sequence[Override], as_written: bool):
        self.document, self.overrides, self.as_written, self.wrong = document, overrides, as_written, list[str]()
        self.head = validate(ExperimentFile, document)

    def experiment(self) -> Experiment:
        """Return the experiment.

        Raises:
            InvalidInputError: all that is wrong.
        """
        head, document = self.head, self.document
        dataset = self._try(lambda: read_part("dataset", document.at("dataset")), "dataset")
        executor = (
            self._try(lambda: read_part("executor", document.at("executor")), "executor") if head.executor else None
        )
        metrics = self._labelled("metric", self._metrics())
        editors = self._labelled("editor", (("editors", index) for index in range(len(head.editors))))
        configurations, skipped = self._configurations()
        if not configurations and not editors and not self.wrong and not skipped:
            self.wrong.append(
                f"{document.name}: there is nothing to compare: give a `matrix`, `configurations` or `editors`."
            )
        if self.wrong:
            raise InvalidInputError("\n".join(dict.fromkeys(self.wrong)))
        assert isinstance(dataset, Dataset)
        every: list[AnyConfiguration] = [*references_of(configurations, head.references), *configurations]
        every = sorted(every, key=_order(every))
        try:
            every += [OtherConfiguration(name, part) for name, part in editors.items()]
            named = {name: part for name, part in metrics.items() if isinstance(part, Metric)}
            name = head.name or Path(document.name).stem
            rest = head.diagnostics, tuple(skipped), executor, tuple(self._published(every))
            return Experiment(name, dataset, named, tuple(every), head.seeds, head.baseline or "", *rest)
        except InvalidInputError as error:
            about = [key for key in ("baseline", "diagnostics") if f"`{key}`" in str(error)]
            place = document.locate(tuple(about[:1]))
            raise InvalidInputError("\n".join(placed(document.name, place, str(error).splitlines()))) from error

    def _published(self, configurations: Sequence[AnyConfiguration]) -> list[Chosen]:
        found = list[Chosen]()
        for index, choice in enumerate(self.head.published):
            part = functools.partial(chosen_tables, [choice], configurations, all_there=self.as_written)
            found += self._try(part, "published", index) or []
        if self.wrong:
            raise InvalidInputError("\n".join(self.wrong))
        return found

    def _configurations(self) -> tuple[list[Configuration], list[Skipped]]:
        head, document = self.head, self.document
        found, skipped = list[Configuration](), list[Skipped]()
        if "matrix" in document.data:
            matrix = self._try(lambda: read_matrix(document.at("matrix"), head.model or "", self.overrides), "matrix")
            if matrix is not None:
                found, skipped = matrix.configurations, matrix.skipped
            if matrix is not None and not found and not skipped:
                self.wrong.append(f"{document.locate(('matrix',))}: `matrix.exclude` leaves every combination out.")
        elif "backbone" in document.data and not head.configurations:
            self.wrong.append(
                f"{document.locate(('backbone',), at_key=True)}: `backbone` is that of `configurations`, and there are none."
            )
        self.wrong += [
            f"{part.locate(path, at_key=True)}: `{'.'.join(path)}`: the noise of an experiment is drawn from its `seeds`."
            for part in (document.at("configurations", index) for index in range(len(head.configurations)))
            for path in (("seed",), ("sweep", "seed"))
            if _has(part.data, path)
        ]
        if head.configurations:
            backbones = head.backbone if isinstance(head.backbone, list) else [head.backbone]
            listed = self._try(
                lambda: read_listed(document, backbones, head.model or "", self.overrides, most=MOST), "configurations"
            )
            found = [*found, *(listed or [])]
        return found, skipped

    def _metrics(self) -> Iterable[tuple[str | int, ...]]:
        if isinstance(self.head.metrics, str):
            return [("metrics",)]
        return [("metrics", index) for index in range(len(self.head.metrics))]

    def _labelled(self, kind: Kind, places: Iterable[tuple[str | int, ...]]) -> dict[str, Any]:
        """Return parts by their labels, which must differ."""
        found: dict[str, Any] = {}
        for place in places:
            part = self.document.at(*place)
            options: list[Option] = self._try(functools.partial(_options, kind, part), *place) or []
            for option in options:
                label = option.label if option.own_label or kind == "editor" else name_of(kind, option.parts[0])
                if label in found:
                    self.wrong.append(
                        f"{part.locate(())}: the {kind} {label!r} is there twice; give one of them a `label`."
                    )
                found[label] = option.parts[0]
        return found

    def _try(self, read: Callable[[], Found], *place: str | int) -> Found | None:
        try:
            return read()
        except HeadRouterError as error:
            self.wrong += placed(self.document.name, self.document.locate(place), str(error).splitlines())
            return None


def _has(data: Any, path: Sequence[str]) -> bool:
    for name in path:
        if not isinstance(data, Mapping) or name not in data:
            return False
        data = data[name]
    return True


def _options(kind: Kind, part: Document) -> list[Option]:
    return list(read_options(kind, part))


def _order(configurations: Sequence[AnyConfiguration]) -> Callable[[AnyConfiguration], int]:
    """Return a key that puts configurations of one model one after the other, in the order in which models come first."""
    first: dict[Any, int] = {}
    for one in configurations:
        first.setdefault(one.loading, len(first))
    return lambda one: first[one.loading]
