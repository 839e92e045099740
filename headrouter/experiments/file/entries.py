"""Write a configuration as an experiment file has it, so that it can be run again by itself."""

from collections.abc import Mapping, Set
from typing import Any, Final

from headrouter.editing.assembly import class_of, model_of, registered_under
from headrouter.experiments.configuration import AnyConfiguration, Configuration, OtherConfiguration
from headrouter.masks.part import described
from headrouter.plugins.specifications import Kind

_MACHINE: Final = {"device", "offload"}
_FOUND: Final = {"revision", "code", "columns"}
"""Fields of a description that are no parameters."""
_SETTLED: Final = {"steps", "guidance"}
"""Fields of an inversion that stand beside the parts."""


def entry_of(configuration: AnyConfiguration) -> dict[str, Any]:
    """Return plain data of an experiment file with this configuration alone: its parts and knobs, without data set and metrics.

    Parameters at their defaults are left out. Read again by the same code, it gives a configuration of the same hash. A part that
    no plug-in registers has no name that a file could give: then it is empty.
    """
    if isinstance(configuration, OtherConfiguration):
        editor = _part("editor", configuration.editor)
        return {"editors": [{**editor, "label": configuration.name}]} if editor else {}
    backbone = _part("backbone", configuration.backbone, _MACHINE)
    inversion = _part("inversion", configuration.inversion, _SETTLED)
    methods = [_part("method", method) for method in configuration.methods]
    operators = [_part("operator", operator) for operator in configuration.operators]
    if not all((backbone, inversion, *operators, *methods)):
        return {}
    mask = {} if configuration.mask is None else described(configuration.mask)
    if "class" in mask:
        return {}
    label = {"label": configuration.group} if configuration.group != backbone["name"] else {}
    one = {
        "name": "unedited" if configuration.still else configuration.name,
        "inversion": _short(inversion),
        **({"operator": [_short(operator) for operator in operators]} if operators else {}),
        "method": [_short(method) for method in methods] or "none",
        **({"mask": _short(mask)} if mask else {}),
        **_knobs(configuration),
    }
    found: dict[str, Any] = {"model": configuration.model, "backbone": [_short({**backbone, **label})]}
    if configuration.still:
        found["references"] = [configuration.still]
    return {**found, "configurations": [one]}


def data_entry(dataset: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return plain data of an experiment file with data set and metrics alone, from their descriptions in a run folder."""
    return {
        "dataset": _without(dataset, _FOUND),
        "metrics": [_metric(label, _without(one, _FOUND)) for label, one in metrics.items()],
    }


def _metric(label: str, values: dict[str, Any]) -> Any:
    return _short(values) if label == values.get("name") else {**values, "label": label}


def _without(values: Mapping[str, Any], names: Set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _knobs(configuration: Configuration) -> dict[str, Any]:
    knobs: dict[str, Any] = {"steps": configuration.steps, "guidance": configuration.guidance}
    defaults = model_of(configuration.backbone_name, configuration.model)[1]
    if configuration.size or defaults is None:  # the model does not say the size that it works at
        knobs["size"] = list(configuration.record.edit.size)
    if configuration.paste:
        knobs |= {"paste": True, "feather": configuration.feather}
    if configuration.strength:
        knobs["strength"] = configuration.strength
    if configuration.negative_prompt:
        knobs["negative_prompt"] = configuration.negative_prompt
    return knobs


def _part(kind: Kind, part: Any, without: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    name = registered_under(kind, class_of(part))
    return {"name": name, **part.model_dump(mode="json", exclude_defaults=True, exclude=set(without))} if name else {}


def _short(part: Mapping[str, Any]) -> Any:
    """Return the name alone of a part without parameters."""
    return part["name"] if len(part) == 1 else dict(part)
