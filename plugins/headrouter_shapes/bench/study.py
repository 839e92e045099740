"""Read configurations from a YAML file, grids of them included.

backbone: [sd3.5, flux]          # one or several; a name, or a mapping of name and parameters
model: shapes
configurations:
  - name: rf
    inversion: {name: rf, stop: 6}
    method: none                 # a name, a mapping of name and parameters, or a list of these
    guidance: 3
    sweep:                       # every combination, named "rf eta=0.5", "rf eta=0.9", ...
      inversion.eta: [0.5, 0.9]
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from headrouter.config.configuration import Override
from headrouter.config.yaml_document import Document, read_yaml
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter_shapes.bench.configuration import Configuration, Placed, read_configuration

SHIPPED: Final = Path(__file__).parent / "studies"
"""Studies that come with the package."""
MOST: Final = 1_000
"""Configurations in a study; each is many edits."""
_TOP: Final = ("backbone", "model", "configurations")


def read_study(
    path: str | Path, backbones: Sequence[str] = (), model: str | None = None, overrides: Sequence[Override] = ()
) -> list[Configuration]:
    """Read every configuration of a study.

    Args:
        path: A YAML file, or the name of a study that comes with the package, a file of :data:`SHIPPED`.
        backbones: These instead of the file's.
        model: This instead of the file's.
        overrides: Values that replace those of every configuration.

    Raises:
        InvalidInputError: everything that is wrong, at once: file, line, configuration and field.
    """
    shipped = SHIPPED / f"{path}.yaml"
    document = read_yaml(shipped if shipped.is_file() and not Path(path).is_file() else path)
    top = document.data
    if not isinstance(top, Mapping) or not isinstance(top.get("configurations"), list) or not top["configurations"]:
        raise InvalidInputError(
            f"{document.name}: a study must be a mapping with a list of `configurations` (got {_short(top)})."
        )
    if unknown := sorted(set(top) - set(_TOP)):
        place = document.locate((unknown[0],), at_key=True)
        raise InvalidInputError(f"{place}: `{unknown[0]}`: unknown name. Known: {', '.join(_TOP)}.")
    declared = top.get("backbone", "sd3.5")
    chosen = list(backbones) or (declared if isinstance(declared, list) else [declared])
    weights = model or top.get("model", "shapes")
    wrong: list[str] = []
    found: list[tuple[str, Document, str, list[Override]]] = []
    for backbone, (index, entry) in itertools.product(chosen, enumerate(top["configurations"])):
        part = document.at("configurations", index)
        try:
            variants = list(_variants(entry, part))
        except InvalidInputError as error:
            wrong += str(error).splitlines()
            continue
        data = {key: value for key, value in entry.items() if key not in ("name", "sweep")}
        data = {**data, "backbone": backbone}
        found += ((name, Document(data, part.name, part.node), part.locate(()), swept) for name, swept in variants)
        if len(found) > MOST:
            raise InvalidInputError(
                f"{part.locate(())}: a study may have {MOST} configurations, over all backbones, and with this one it has "
                f"{len(found)}. Split it."
            )
    made: list[Configuration] = []
    for name, values, place, swept in found:
        replaced = [*swept, *overrides]
        try:
            made.append(read_configuration(name, weights, values, replaced))
        except HeadRouterError as error:
            lines = str(error).splitlines()
            wrong += [
                line if line.startswith(f"{document.name}:") else f"{place}: {line}" for line in _named(name, lines)
            ]
    if wrong:
        raise InvalidInputError("\n".join(dict.fromkeys(wrong)))
    refuse_doubles(made)
    return made


def refuse_doubles(configurations: Sequence[Configuration]) -> None:
    """Refuse two configurations of a backbone whose results would go to one folder.

    Raises:
        InvalidInputError: naming them.
    """
    seen: set[tuple[str, str]] = set()
    for one in configurations:
        if (one.backbone_name, one.slug) in seen:
            raise InvalidInputError(f"the name {one.name!r} stands for two configurations; give each its own.")
        seen.add((one.backbone_name, one.slug))


def _named(name: str, lines: Sequence[str]) -> list[str]:
    """Return lines of an error with the configuration's name behind the place, if there is one."""
    named = []
    for line in lines:
        place, separator, rest = line.partition(": ")
        is_place = bool(separator) and place.rpartition(":")[2].isdecimal()
        named.append(f"{place}: configuration {name!r}, {rest}" if is_place else f"configuration {name!r}: {line}")
    return named


def _variants(entry: Any, part: Document) -> Iterator[tuple[str, list[Override]]]:
    """Yield the combinations of a grid: name and values."""
    place = part.locate(())
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
        raise InvalidInputError(f"{place}: a configuration must be a mapping with a `name` (got {_short(entry)}).")
    if "backbone" in entry:
        where = part.locate(("backbone",), at_key=True)
        raise InvalidInputError(f"{where}: `backbone` belongs at the top of a study; all configurations share it.")
    sweep = entry.get("sweep", {})
    if not isinstance(sweep, Mapping) or not all(isinstance(values, list) and values for values in sweep.values()):
        where = part.locate(("sweep",))
        raise InvalidInputError(
            f"{where}: configuration {entry['name']!r}, `sweep`: must map dotted names to lists of values, e.g. "
            f"`inversion.eta: [0.5, 0.9]` (got {_short(sweep)})."
        )
    last = [path.split(".")[-1] for path in sweep]
    labels = [path if last.count(name) > 1 else name for path, name in zip(sweep, last, strict=True)]
    if (count := math.prod(map(len, sweep.values()))) > MOST:
        where = part.locate(("sweep",), at_key=True)
        raise InvalidInputError(
            f"{where}: configuration {entry['name']!r}, `sweep`: {count} combinations are more than the {MOST} that a study may "
            "have. Sweep fewer values, or split the study."
        )
    choices = [
        [
            Placed(tuple(path.split(".")), value, part.locate(("sweep", path, index)))
            for index, value in enumerate(values)
        ]
        for path, values in sweep.items()
    ]
    for chosen in itertools.product(*choices):
        words = [f"{label}={_label(one.value)}" for label, one in zip(labels, chosen, strict=True)]
        yield " ".join([entry["name"].strip(), *words]), list(chosen)


def _label(value: Any) -> str:
    """Return a swept value in a name.

    >>> _label([{"name": "headrouter", "gamma": 0.3}, "maps"])
    'headrouter(gamma=0.3)+maps'
    """
    if isinstance(value, Mapping):
        rest = ",".join(f"{key}={_label(each)}" for key, each in value.items() if key != "name")
        return f"{value.get('name', '')}({rest})" if rest else str(value.get("name", ""))
    return "+".join(map(_label, value)) if isinstance(value, list) else "none" if value is None else str(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
