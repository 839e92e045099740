"""Read the configurations that a file lists one by one, each of them possibly a sweep."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from headrouter.config.configuration import Override
from headrouter.config.yaml_document import Document
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.composing import read_configuration
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.file.sweep import MOST, short, variants
from headrouter.models.backbone import Defaults


def read_listed(
    document: Document,
    backbones: Sequence[Any],
    model: str,
    overrides: Sequence[Override] = (),
    *,
    most: int = MOST,
    fallback: Defaults | None = None,
) -> list[Configuration]:
    """Read every configuration that the ``configurations`` of a file describe, for each backbone.

    Args:
        document: The whole file.
        backbones: Name, or mapping of name and parameters, of each; a mapping may have a ``model`` and a ``label``.
        model: Of the weights, where a backbone has none.
        overrides: Values that replace those of every configuration.
        most: Configurations over all backbones.
        fallback: Steps, guidance and area of a model whose registration does not say.

    Raises:
        InvalidInputError: everything that is wrong, at once: file, line, configuration and field.
    """
    wrong: list[str] = []
    found: list[tuple[str, Document, str, list[Override]]] = []
    entries = [document.at("configurations", index) for index in range(len(document.data["configurations"]))]
    for backbone in backbones:
        for part in entries:
            try:
                name = _name_of(part)
                words = variants(part, f"configuration {name!r}", most=most)
                expanded = [(" ".join(filter(None, (name, suffix))), swept) for suffix, swept in words]
            except InvalidInputError as error:
                wrong += str(error).splitlines()
                continue
            data = {key: value for key, value in part.data.items() if key not in ("name", "sweep")}
            data["backbone"] = backbone
            place = part.locate(())
            found += [(name, replace(part, data=data), place, list(swept)) for name, swept in expanded]
            if len(found) > most:
                raise InvalidInputError(
                    f"{place}: a study may have {most} configurations, over all backbones, and with this one it has "
                    f"{len(found)}. Split it."
                )
    made: list[Configuration] = []
    for name, values, place, swept in found:
        try:
            made.append(read_one(name, values, model, [*swept, *overrides], fallback))
        except HeadRouterError as error:  # noqa: PERF203
            wrong += placed(document.name, place, named(f"configuration {name!r}", str(error).splitlines()))
    if wrong:
        raise InvalidInputError("\n".join(dict.fromkeys(wrong)))
    return made


def read_one(
    name: str, values: Document, model: str, overrides: Sequence[Override] = (), fallback: Defaults | None = None
) -> Configuration:
    """Compose a configuration from parts and knobs, among them its backbone, which may have a ``model`` and a ``label``.

    Args:
        name: Of the configuration.
        values: Parts and knobs, without ``name`` and ``sweep``.
        model, overrides, fallback: As of :func:`read_listed`.

    Raises:
        HeadRouterError: parts or values that do not fit together.
    """
    backbone, own, label = backbone_option(values.data["backbone"])
    whole = replace(values, data={**values.data, "backbone": backbone})
    return read_configuration(name, own or model, whole, overrides, label=label, fallback=fallback)


def backbone_option(value: Any) -> tuple[Any, str, str]:
    """Split a backbone of a file into its parameters, its own ``model`` and its label in names; both may be empty."""
    if not isinstance(value, Mapping):
        return value, "", ""
    model, label = value.get("model"), value.get("label")
    rest = {key: each for key, each in value.items() if key not in ("model", "label")}
    if model is not None and not isinstance(model, str):
        raise InvalidInputError(f"`backbone.model` must be a name, a hub id or a folder (got {short(model)}).")
    shown = label if label is not None else f"{value.get('name')}-{model}" if model else ""
    return rest, model or "", str(shown)


def refuse_doubles(configurations: Sequence[Configuration]) -> None:
    """Refuse two configurations of a backbone whose results would go to one folder.

    Raises:
        InvalidInputError: naming them.
    """
    counts = Counter(one.key for one in configurations)
    for one in configurations:
        if counts[one.key] > 1:
            raise InvalidInputError(f"the name {one.name!r} stands for two configurations; give each its own.")


def placed(file: str, place: str, lines: Sequence[str]) -> list[str]:
    """Put a place before the lines of an error that have none."""
    return [line if line.startswith((f"{file}:", "--")) else f"{place}: {line}" for line in lines]


def named(owner: str, lines: Sequence[str]) -> list[str]:
    """Return lines of an error with their owner behind the place, if there is one."""
    found = []
    for line in lines:
        place, separator, rest = line.partition(": ")
        is_place = bool(separator) and place.rpartition(":")[2].isdecimal()
        found.append(f"{place}: {owner}, {rest}" if is_place else f"{owner}: {line}")
    return found


def _name_of(part: Document) -> str:
    entry = part.data
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
        raise InvalidInputError(
            f"{part.locate(())}: a configuration must be a mapping with a `name` (got {short(entry)})."
        )
    if "backbone" in entry:
        raise InvalidInputError(
            f"{part.locate(('backbone',), at_key=True)}: `backbone` belongs at the top of a study; all configurations share it."
        )
    return str(entry["name"]).strip()
