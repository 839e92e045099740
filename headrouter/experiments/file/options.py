"""Read the options of one axis of a matrix: named parts with parameters, sweeps and labels, each validated once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headrouter.config.configuration import Override, Placed, validate
from headrouter.config.yaml_document import Document
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.composing import SEVERAL, part_of
from headrouter.experiments.file.sweep import label_of, variants
from headrouter.plugins.specifications import Kind

_BESIDE = ("name", "label", "sweep")


@dataclass(frozen=True)
class Option:
    """Holds one choice on an axis.

    Attributes:
        label: In the names of configurations.
        parts: Validated objects: one, or several operators or methods.
        model: Of the weights, where a backbone has its own; empty otherwise.
        own_label: Whether the file gives the label.
    """

    label: str
    parts: tuple[Any, ...]
    model: str = ""
    own_label: bool = False


def read_options(
    kind: Kind, document: Document, overrides: Sequence[Override] = (), swept: Sequence[Placed] = ()
) -> Iterator[Option]:
    """Yield the options of one entry of an axis: more than one where it sweeps a parameter.

    Args:
        kind: Of the axis.
        document: The entry: a name, a mapping of ``name``, parameters, ``label`` and ``sweep``, or a list of these for several
            operators or methods together.
        overrides: Values that replace those of all entries; their paths begin with the kind.
        swept: Values of this option from the sweep of the whole matrix; their paths begin with the kind, too.

    Raises:
        InvalidInputError: all that is wrong, with places.
    """
    if isinstance(document.data, list) and kind in SEVERAL:
        places = [str(index) for index in range(len(document.data))]
        if lost := [one for one in (*overrides, *swept) if one.path[1:2] not in [(place,) for place in places]]:
            raise InvalidInputError(
                f"{lost[0].origin}: `{'.'.join(lost[0].path)}`: there are {len(places)} of this kind together; say which, such as "
                f"`{kind}.0.{'.'.join(lost[0].path[1:])}`."
            )
        found: list[Option] = [Option("", ())]
        for index, place in enumerate(places):
            here = [[_below(one, place) for one in some if one.path[1] == place] for some in (overrides, swept)]
            ones = list(read_options(kind, document.at(index), *here))
            found = [
                Option(" + ".join(filter(None, (a.label, b.label))), (*a.parts, *b.parts)) for a in found for b in ones
            ]
        yield from found
        return
    entry = document.data
    values = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
    label, model = values.pop("label", None), values.pop("model", "") if kind == "backbone" else ""
    for field, value in (("label", label), ("model", model)):
        if value is not None and not isinstance(value, str):
            raise InvalidInputError(f"{document.locate((field,))}: `{kind}.{field}` must be a text (got {value!r}).")
    sweeps = list(variants(replace(document, data=values), f"`{kind}`")) if "sweep" in values else [("", [])]
    values.pop("sweep", None)
    given = [_below(one) for one in (*overrides, *swept)]
    for words, own in sweeps:
        part = read_part(kind, replace(document, data=values), [*own, *given])
        shown = values | {".".join(one.path): one.value for one in (*own, *(_below(one) for one in swept))}
        if isinstance(label, str):
            suffix = " ".join(filter(None, (words, *(f"{one.path[-1]}={label_of(one.value)}" for one in swept))))
            yield Option(" ".join(filter(None, (label, suffix))), (part,), model, own_label=True)
        else:
            text = " ".join([str(shown.pop("name")), *(f"{name}={label_of(value)}" for name, value in shown.items())])
            yield Option(f"{text}-{model}" if model else text, (part,), model)


def read_part(kind: Kind, document: Document, overrides: Sequence[Override] = ()) -> Any:
    """Return a validated part from its name, or a mapping of its name and parameters.

    Raises:
        InvalidInputError: all that is wrong, with places.
    """
    try:
        parameters, values = part_of(kind, document.data)
    except HeadRouterError as error:
        place = document.locate(("name",))
        raise InvalidInputError(f"{place}: {error}") from error
    return validate(parameters, replace(document, data=values), overrides, prefix=f"{kind}.")


def _below(override: Override, *parts: str) -> Placed:
    """Return an override of a part as one of what the first steps of its path lead to."""
    kind = override.path[0]
    path = override.path[1 + len(parts) :]
    return Placed((kind, *path) if parts else path, override.value, override.origin)
