"""Expand a matrix: every combination of the options of its axes, an axis for each kind of part."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from headrouter.config.configuration import Override, unknown_name, validate
from headrouter.config.yaml_document import Document
from headrouter.editing.assembly import default_inversion, part_class
from headrouter.errors import HeadRouterError, IncompatibleError, InvalidInputError
from headrouter.experiments.composing import DEFAULTS, Knobs, resolve
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.experiment import Skipped
from headrouter.experiments.file.exclusions import Exclusion, read_exclusions
from headrouter.experiments.file.listed import placed
from headrouter.experiments.file.options import Option, read_options
from headrouter.experiments.file.sweep import MOST, short, variants
from headrouter.plugins.specifications import KINDS, Kind

KNOBS = tuple(field for field in Knobs.model_fields if field != "seed")
"""Values beside the parts that a configuration may have; seeds are those of the experiment."""


@dataclass(frozen=True)
class Matrix:
    """Holds what a matrix expands to: configurations, and combinations that cannot be run."""

    configurations: list[Configuration]
    skipped: list[Skipped]


def read_matrix(document: Document, model: str, overrides: Sequence[Override] = ()) -> Matrix:
    """Expand the matrix of a file.

    Args:
        document: Mapping from kinds of part to their options, with knobs, a ``sweep`` and ``exclude``.
        model: Of the weights, where a backbone has none of its own.
        overrides: Values that replace those of all options, ``inversion.eta``, and knobs.

    Raises:
        InvalidInputError: all that is wrong, at once, with places.
    """
    known = (*KINDS, *KNOBS, "sweep", "exclude")
    if not isinstance(document.data, Mapping) or not set(document.data) & set(KINDS):
        raise InvalidInputError(
            f"{document.locate(())}: `matrix` must map kinds of part, {', '.join(KINDS)}, to lists of options "
            f"(got {short(document.data)})."
        )
    shape: Any = {name: document.data[name] for name in document.data if name in known}
    if unknown := [name for name in document.data if name not in known]:
        raise InvalidInputError(
            "\n".join(
                f"{document.locate((name,), at_key=True)}: `matrix.{name}`: {unknown_name(str(name), known)}"
                for name in unknown
            )
        )
    sweeps = _sweeps(document)
    wrong: list[str] = []
    axes: dict[Kind, list[Option]] = {}
    for kind in KINDS:
        axes[kind] = []
        if document.data.get(kind) == []:
            wrong.append(
                f"{document.locate((kind,))}: `matrix.{kind}` is empty; give a name at least, or leave it out."
            )
        own = [one for one in overrides if one.path[0] == kind]
        for entry in _entries(document, kind, axes):
            for swept in sweeps[kind]:
                try:
                    axes[kind] += read_options(kind, entry, own, swept)
                except HeadRouterError as error:  # noqa: PERF203
                    wrong += placed(document.name, entry.locate(()), str(error).splitlines())
    knobs: list[tuple[str, Knobs]] = []
    values = {name: value for name, value in shape.items() if name in KNOBS}
    rest = [one for one in overrides if one.path[0] in KNOBS]
    for words, swept in sweeps[None]:
        try:
            knobs.append((words, validate(Knobs, replace(document, data=values), [*swept, *rest], prefix="matrix.")))
        except InvalidInputError as error:  # noqa: PERF203
            wrong += str(error).splitlines()
    if wrong:
        raise InvalidInputError("\n".join(dict.fromkeys(wrong)))
    if (count := prod(map(len, axes.values())) * len(knobs)) > MOST:
        raise InvalidInputError(
            f"{document.locate(())}: `matrix` has {count} combinations, more than the {MOST} that an experiment may have. "
            "Give fewer options, or split it."
        )
    exclusions = read_exclusions(document.at("exclude"), axes) if "exclude" in document.data else []
    return _expanded(document, model, axes, knobs, exclusions)


def _expanded(
    document: Document,
    model: str,
    axes: Mapping[Kind, list[Option]],
    knobs: Sequence[tuple[str, Knobs]],
    exclusions: Sequence[Exclusion],
) -> Matrix:
    found, skipped, wrong = list[Configuration](), dict[tuple[str, str], Skipped](), list[str]()
    combinations = itertools.product(*(axes[kind] for kind in KINDS))
    for chosen, (words, given) in itertools.product(combinations, knobs):
        options = dict(zip(KINDS, chosen, strict=True))
        if not all(kind in document.data or _suits(kind, options) for kind in KINDS):
            continue
        if sum([one.matches(options, given) for one in exclusions]):  # asks all of them, since each counts its own
            continue
        try:
            found.append(_composed(options, words, given, model))
        except IncompatibleError as error:
            group, name = options["backbone"].label, _name(options, words)
            skipped[group, name] = Skipped(group, name, " ".join(str(error).split()))
        except HeadRouterError as error:
            lines = [f"{_name(options, words)!r}: {line}" for line in str(error).splitlines()]
            wrong += placed(document.name, document.locate(()), lines)
    idle = [one for one in exclusions if not one.count]
    wrong += [f"{one.place}: `matrix.exclude`: no combination is {short(one.given)}; leave it out." for one in idle]
    if wrong:
        raise InvalidInputError("\n".join(dict.fromkeys(wrong)))
    return Matrix(found, list(skipped.values()))


def _composed(options: Mapping[Kind, Option], words: str, knobs: Knobs, model: str) -> Configuration:
    backbone = options["backbone"]
    (loaded,), (inversion,), (mask,) = backbone.parts, options["inversion"].parts, options["mask"].parts
    operators, methods = options["operator"].parts, options["method"].parts
    name, weights = _name(options, words), backbone.model or model
    rest: dict[str, Any] = {"label": backbone.label, "mask": mask}
    return resolve(name, loaded, weights, inversion, operators, methods, knobs, **rest)


def _name(options: Mapping[Kind, Option], words: str) -> str:
    """Return the name of a configuration: its parts but the backbone, and swept knobs: ``rf + headrouter guidance=5``."""
    labels = [option.label for kind, option in options.items() if kind != "backbone"]
    return " ".join(filter(None, (" + ".join(label for label in labels if label not in ("none", "")), words)))


def _sweeps(document: Document) -> dict[Any, list[Any]]:
    """Split the sweep of a matrix: for each kind the combinations of its values, and under None those of the knobs."""
    found: dict[Any, list[Any]] = {kind: [[]] for kind in KINDS}
    found[None] = [("", [])]
    sweep = document.data.get("sweep", {})
    if not isinstance(sweep, Mapping):
        list(variants(document, "`matrix`"))  # refuses it
    for kind in (*KINDS, None):
        names = [
            name for name in sweep if (str(name).split(".")[0] if str(name).split(".")[0] in KINDS else None) == kind
        ]
        for name in names:
            if name in KINDS:
                place = document.locate(("sweep", name), at_key=True)
                raise InvalidInputError(f"{place}: `matrix.sweep.{name}`: list its values under `matrix.{name}`.")
            if kind is None and name not in KNOBS:
                place = document.locate(("sweep", name), at_key=True)
                raise InvalidInputError(
                    f"{place}: `matrix.sweep.{name}`: unknown name. Known: {', '.join(KNOBS)}, and parameters of parts, such as "
                    "`inversion.stop`."
                )
        part = replace(document, data={"sweep": {name: sweep[name] for name in names}})
        expanded = list(variants(part, "`matrix`"))
        found[kind] = expanded if kind is None else [values for _, values in expanded]
    return found


def _entries(document: Document, kind: Kind, axes: Mapping[Kind, Sequence[Option]]) -> list[Document]:
    """Return the entries of an axis; where it is left out, the defaults of the axes before it."""
    if kind in document.data:
        several = isinstance(document.data[kind], list)
        return (
            [document.at(kind, place) for place in range(len(document.data[kind]))] if several else [document.at(kind)]
        )
    before = itertools.product(*(axes[one] for one in KINDS[: KINDS.index(kind)]))
    names = dict.fromkeys(_default(kind, dict(zip(KINDS, chosen, strict=False))) for chosen in before)
    return [Document(name, document.name) for name in names]


def _suits(kind: Kind, options: Mapping[Kind, Option]) -> bool:
    """Return whether the option of an axis that is left out is the default of the options before it."""
    return type(options[kind].parts[0]) is part_class(kind, _default(kind, options))


def _default(kind: Kind, options: Mapping[Kind, Option]) -> str:
    if kind == "method":
        name: str = options["inversion"].parts[0].default_method
        return name
    return default_inversion(options["backbone"].parts[0]) if kind == "inversion" else DEFAULTS[kind]
