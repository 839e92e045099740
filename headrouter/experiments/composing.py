"""Compose configurations from names, objects or plain data, validated by the classes of the parts."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field, create_model

from headrouter.config.configuration import Override, validate
from headrouter.config.yaml_document import Document
from headrouter.editing import tuning
from headrouter.editing.assembly import (
    AUTO,
    Methods,
    Operators,
    default_inversion,
    inversion_of,
    model_of,
    name_of,
    operators_of,
    part_class,
    refuse_misfits,
    steering_of,
)
from headrouter.editing.record import masks_of
from headrouter.editing.request import Side, Text
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import Configuration
from headrouter.masks.mask import Mask
from headrouter.masks.part import mask_of
from headrouter.methods.head_router.method import NoMethod
from headrouter.methods.method import Method
from headrouter.models.backbone import BackboneParameters, Defaults
from headrouter.plugins import registry
from headrouter.plugins.specifications import KINDS, Kind
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import VelocityOperator

DEFAULTS: Final[Mapping[Kind, str]] = {"backbone": "sd3.5", "operator": "none", "mask": "none"}
"""The parts of a configuration that does not name them, of the kinds that depend on no other, see :func:`with_defaults`."""
SEVERAL: Final[frozenset[Kind]] = frozenset({"operator", "method"})
"""Kinds of which a configuration takes any number, in order."""
_MACHINE: Final = frozenset({"device", "offload"})


class Knobs(tuning.Knobs):
    """Holds the values of a configuration beside its parts, as in :meth:`headrouter.editing.editor.Editor.edit`."""

    seed: int = Field(0, ge=0, lt=2**31, description="of all noise; each source picture has its own noise")
    negative_prompt: Text = Field("", description="Prompt from which guidance steers away, in every edit.")
    size: tuple[Side, Side] | None = Field(
        None, description="Width and height to work at; the model's own if not given."
    )


def configure(
    name: str,
    backbone: str | BackboneParameters = DEFAULTS["backbone"],
    inversion: str | Inversion | None = None,
    method: Methods = AUTO,
    *,
    operator: Operators = DEFAULTS["operator"],
    mask: Any = DEFAULTS["mask"],
    model: str = "",
    fallback: Defaults | None = None,
    **knobs: Any,
) -> Configuration:
    """Compose a configuration from names or objects, as :class:`headrouter.editing.editor.Editor` does.

    Args:
        name: For tables and folders.
        backbone, inversion, operator, method: The parts; where inversion and method are left out, those that suit.
        mask: Where the edits may act, see :func:`~headrouter.masks.part.mask_of`.
        model: Weights: short name, hub id or folder; the backbone's own if empty.
        fallback: Steps, guidance and area of a model whose registration does not say.
        knobs: See :class:`Knobs`.

    Raises:
        HeadRouterError: parts that do not exist or do not fit, before any model is loaded.
    """
    chosen = part_class("backbone", backbone)() if isinstance(backbone, str) else backbone
    given = validate(Knobs, knobs)
    used = inversion_of(default_inversion(chosen) if inversion is None else inversion)
    operators, methods = operators_of(operator), steering_of(method, used)
    rest: dict[str, Any] = {"fallback": fallback, "mask": mask_of(mask)}
    return resolve(name, chosen, model, used, operators, methods, given, **rest)


def read_configuration(
    name: str,
    model: str,
    data: Mapping[str, Any] | Document,
    overrides: Sequence[Override] = (),
    *,
    label: str = "",
    fallback: Defaults | None = None,
) -> Configuration:
    """Compose a configuration from plain data.

    Args:
        name: Of the configuration.
        model: Of the weights; the backbone's own if empty.
        data: ``backbone``, ``inversion``, ``operator`` and ``method``, each the name of a part or a mapping of ``name`` and the
            part's parameters (the last two also a list of these), and the fields of :class:`Knobs`.
        overrides: Values that replace those in ``data``.
        label: Of the backbone in names and folders.
        fallback: Steps, guidance and area of a model whose registration does not say.

    Raises:
        InvalidInputError: all errors at once, each with its place where ``data`` has places.
    """
    tree = data.data if isinstance(data, Document) else data
    if not isinstance(tree, Mapping):
        raise InvalidInputError(f"a configuration must be a mapping (got {tree!r}).")
    whole = [override for override in overrides if len(override.path) == 1 and override.path[0] in KINDS]
    tree = dict(tree) | {override.path[0]: override.value for override in whole}
    tree = with_defaults(tree)
    classes: list[Any] = []
    for kind in KINDS:
        listed = kind in SEVERAL and isinstance(tree[kind], list)
        found = [part_of(kind, one) for one in (tree[kind] if listed else [tree[kind]])]
        tree[kind] = [values for _, values in found] if listed else found[0][1]
        classes.append(tuple(kind for kind, _ in found) if listed else found[0][0])
    place = dataclasses.replace(data, data=tree) if isinstance(data, Document) else tree
    given: Any = validate(_shape(tuple(classes)), place, [one for one in overrides if one not in whole])
    knobs = Knobs(**{field: getattr(given, field) for field in given.model_fields_set & set(Knobs.model_fields)})
    operators, methods = (one if isinstance(one, tuple) else (one,) for one in (given.operator, given.method))
    rest: dict[str, Any] = {"label": label, "fallback": fallback, "mask": given.mask}
    return resolve(name, given.backbone, model, given.inversion, operators, methods, knobs, **rest)


def with_defaults(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a configuration, and the names of those that suit them where it names none.

    Args:
        chosen: Parts by kind, as plain data.

    Raises:
        HeadRouterError: a backbone or an inversion that is none.
    """
    found: dict[str, Any] = {str(kind): name for kind, name in DEFAULTS.items()} | dict(chosen)
    if "inversion" not in found:
        backbone = found["backbone"]
        part_of("backbone", backbone)  # refuses what is none
        found["inversion"] = default_inversion(backbone["name"] if isinstance(backbone, Mapping) else backbone)
    if "method" not in found:
        found["method"] = part_of("inversion", found["inversion"])[0].default_method
    return found


@functools.lru_cache(maxsize=1000)
def _shape(classes: tuple[Any, ...]) -> type[Knobs]:
    """Return the model of a configuration whose parts are of these classes, one for each kind."""
    fields: dict[str, Any] = {
        kind: (tuple[one] if isinstance(one, tuple) else one, ...)  # type: ignore[valid-type]
        for kind, one in zip(KINDS, classes, strict=True)
    }
    return create_model("Configuration", __base__=Knobs, **fields)


def part_of(kind: Kind, value: Any) -> tuple[Any, dict[str, Any]]:
    """Return the class of a part, and its parameters without the name; None is the part that does nothing."""
    if value is None and (kind in SEVERAL or kind == "mask"):
        value = "none"
    values = dict(value) if isinstance(value, Mapping) else {"name": value}
    name = values.pop("name", None)
    if kind == "mask" and isinstance(name, str) and not values:  # an expression, or the name of a file
        found = mask_of(name)
        return type(found), found.model_dump(mode="json", exclude_defaults=True)
    if not isinstance(name, str):
        raise InvalidInputError(f"`{kind}` must be a name, or a mapping with a `name` and parameters (got {value!r}).")
    return part_class(kind, name), values


def resolve(
    name: str,
    backbone: BackboneParameters,
    model: str,
    inversion: Inversion,
    operators: Sequence[VelocityOperator],
    methods: Sequence[Method],
    knobs: Knobs,
    *,
    label: str = "",
    fallback: Defaults | None = None,
    mask: Mask | None = None,
) -> Configuration:
    """Settle steps, guidance, presets and knobs as :class:`headrouter.editing.editor.Editor` does.

    The weights are of float32, unless the backbone's parameters say otherwise: results do not depend on the machine.
    """
    kind = name_of("backbone", backbone)
    if given := sorted(backbone.model_fields_set & _MACHINE):
        raise InvalidInputError(
            f"`backbone.{given[0]}` is no part of a configuration, since results do not depend on it: it is given when they "
            "are run, with `--device`."
        )
    spec = registry().backbone(kind)
    operators = operators_of(operators)
    refuse_misfits(frozenset(spec.provides), kind, (inversion, *operators, *methods))
    defaults = model_of(kind, model or None)[1] or fallback
    missing = [field for field in ("steps", "guidance", "size") if not _says(field, knobs, inversion)]
    if defaults is None and missing:
        raise InvalidInputError(
            f"`model` {model or spec.default_model!r} of `backbone` {kind!r} does not say its {', '.join(missing)} before it is "
            "loaded. Give them in the configuration."
        )
    none = defaults or Defaults(1, 1.0, 0)
    plan = tuning.settle(knobs, inversion, methods, none, operators=operators, mask=mask)
    refuse_misfits(frozenset(spec.provides), kind, masks_of(plan))
    acting = tuple(method for method in plan.methods if not isinstance(method, NoMethod))
    settled = type(inversion)(**{**plan.inversion.model_dump(), "steps": plan.steps, "guidance": None})
    if backbone.dtype == "auto":
        backbone = backbone.model_copy(update={"dtype": "float32"})
    return Configuration(
        name,
        backbone,
        model or spec.default_model,
        settled,
        acting,
        plan.steps,
        float(plan.guidance),
        operators=plan.operators,
        area=defaults.area if defaults else 0,
        size=knobs.size,
        negative_prompt=knobs.negative_prompt,
        seed=knobs.seed,
        label=label,
        mask=plan.mask,
        paste=plan.paste,
        feather=plan.feather,
        strength=plan.strength,
    )


def _says(field: str, knobs: Knobs, inversion: Inversion) -> bool:
    return getattr(knobs, field) is not None or getattr(inversion, field, None) is not None
