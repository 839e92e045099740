"""Build an editor from the options of a command line."""

import argparse
from typing import TYPE_CHECKING, Any

from headrouter.cli.options import machine_of
from headrouter.cli.overrides import parse_overrides

if TYPE_CHECKING:
    from headrouter.editing.editor import Editor
    from headrouter.methods.method import Method
    from headrouter.models.backbone import BackboneParameters
    from headrouter.sampling.inversion import Inversion


def editor_of(arguments: argparse.Namespace) -> "Editor":
    """Load the model and compose the parts that a command line names."""
    from headrouter.editing.editor import Editor

    backbone, inversion, methods = _parts(arguments)
    return Editor(
        backbone,
        inversion,
        methods,
        model=arguments.model,
        max_rows=arguments.max_rows,
        progress=not arguments.no_progress,
        **machine_of(arguments),
    )


def _parts(arguments: argparse.Namespace) -> "tuple[BackboneParameters, Inversion, tuple[Method, ...]]":
    """Read backbone parameters, inversion and methods, with every ``--set`` in them; report all errors at once."""
    from pydantic import create_model

    from headrouter.config.configuration import Parameters, validate
    from headrouter.editing.assembly import default_inversion, part_class

    names = arguments.method or ["headrouter"]
    classes = [part_class("method", name) for name in names]
    fields: dict[str, Any] = {
        "backbone": part_class("backbone", arguments.backbone),
        "inversion": part_class("inversion", arguments.inversion or default_inversion(arguments.backbone)),
        "method": classes[0] if len(classes) == 1 else tuple[tuple(classes)],  # type: ignore[misc]
    }
    given: dict[str, Any] = {
        "backbone": {},
        "inversion": {},
        "method": {} if len(classes) == 1 else [{} for _ in classes],
    }
    required: dict[str, Any] = {name: (kind, ...) for name, kind in fields.items()}
    model = create_model("Edit", __base__=Parameters, **required)
    parts: Any = validate(model, given, parse_overrides(arguments.set))
    return parts.backbone, parts.inversion, parts.method if len(classes) > 1 else (parts.method,)
