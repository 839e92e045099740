"""Build an editor from the options of a command line."""

import argparse
from typing import TYPE_CHECKING, Any

from headrouter.cli.options import machine_of

if TYPE_CHECKING:
    from headrouter.editing.editor import Editor
    from headrouter.methods.method import Method
    from headrouter.models.backbone import BackboneParameters
    from headrouter.sampling.inversion import Inversion
    from headrouter.sampling.velocity_operator import VelocityOperator


def editor_of(arguments: argparse.Namespace) -> "Editor":
    """Load the model and compose the parts that a command line names."""
    from headrouter.editing.editor import Editor

    backbone, inversion, operators, methods = _parts(arguments)
    return Editor(
        backbone,
        inversion,
        methods,
        operators=operators,
        model=arguments.model,
        max_rows=arguments.max_rows,
        progress=not arguments.no_progress,
        **machine_of(arguments),
    )


def _parts(
    arguments: argparse.Namespace,
) -> "tuple[BackboneParameters, Inversion, tuple[VelocityOperator, ...], tuple[Method, ...]]":
    """Read parameters of all parts, with every ``--set`` in them; report all errors at once."""
    from pydantic import create_model

    from headrouter.cli.overrides import parse_overrides
    from headrouter.config.configuration import Parameters, validate
    from headrouter.editing.assembly import default_inversion, part_class

    operators = [part_class("operator", name) for name in arguments.operator or ["none"]]
    inversion = part_class("inversion", arguments.inversion or default_inversion(arguments.backbone))
    methods = [part_class("method", name) for name in arguments.method or [inversion.default_method]]
    fields: dict[str, Any] = {
        "backbone": part_class("backbone", arguments.backbone),
        "inversion": inversion,
        "operator": operators[0] if len(operators) == 1 else tuple[tuple(operators)],  # type: ignore[misc]
        "method": methods[0] if len(methods) == 1 else tuple[tuple(methods)],  # type: ignore[misc]
    }
    several = {"operator": operators, "method": methods}
    given: dict[str, Any] = {
        kind: {} if len(several.get(kind, [kind])) == 1 else [{} for _ in several[kind]] for kind in fields
    }
    required: dict[str, Any] = {name: (kind, ...) for name, kind in fields.items()}
    model = create_model("Edit", __base__=Parameters, **required)
    parts: Any = validate(model, given, parse_overrides(arguments.set))
    changing, steering = (one if isinstance(one, tuple) else (one,) for one in (parts.operator, parts.method))
    return parts.backbone, parts.inversion, changing, steering
