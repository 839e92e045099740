"""Give parts the values of a preset, except those that the user set."""

from collections.abc import Sequence
from typing import Any

from headrouter.config.configuration import Parameters
from headrouter.config.step_or_fraction import StepOrFraction
from headrouter.editing.assembly import Part, changed, name_of, part_class
from headrouter.errors import IncompatibleError, InvalidInputError, UnknownNameError
from headrouter.methods.method import Method
from headrouter.plugins import registry
from headrouter.plugins.names import fold, resolve
from headrouter.plugins.preset_file import is_preset_file, read_presets
from headrouter.plugins.specifications import Kind, Preset
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import VelocityOperator


def with_preset(
    name: str,
    inversion: Inversion,
    methods: Sequence[Method],
    steps: int,
    operators: Sequence[VelocityOperator] = (),
) -> tuple[Inversion, tuple[Method, ...], tuple[VelocityOperator, ...]]:
    """Give the parts the values of a preset, except those that the user set; step numbers are scaled to ``steps``.

    A preset may have values for several components, registered under the same name: each part that takes part gets its own. Of
    a preset's file every part must take part. A number of steps of the preset's own, as a search may have found, replaces
    ``steps``.

    Args:
        name: Of the preset, or its file.
        inversion, methods, operators: The parts.
        steps: Of the run.

    Raises:
        UnknownNameError: no preset of that name.
        IncompatibleError: none of its components takes part, or not all of a file.
    """
    of_file = read_presets(name) if is_preset_file(name) else None
    used: list[Preset] = []

    def tuned(kind: Kind, part: Part, steps: int) -> Part:
        preset = _preset_of(kind, part, name, of_file)
        if preset is None:
            return part
        used.append(preset)
        own = preset.values.get("steps") if kind == "inversion" and "steps" not in part.model_fields_set else None
        try:
            return changed(part, _scaled(part, preset, own if isinstance(own, int) else steps))
        except InvalidInputError as error:
            owner = name_of(kind, part)
            raise InvalidInputError(
                f"`preset` {name!r} does not fit the {kind} {owner!r} as it is set: {error}"
            ) from error

    inversion = tuned("inversion", inversion, steps)
    steps = inversion.steps or steps
    chosen = tuple(tuned("method", method, steps) for method in methods)
    changing = tuple(tuned("operator", operator, steps) for operator in operators)
    idle = [one for one in of_file or () if one not in used]
    if used and not idle:
        return inversion, chosen, changing
    components = [one.component for one in idle or registry().presets() if idle or fold(one.name) == fold(name)]
    if not components:
        resolve("preset", name, registry().entries("preset"))  # says what is meant
    owners = " and the ".join(f"{kind} {component!r}" for kind, component in components)
    choose = f" {'and' if idle else 'or'} ".join(f"{kind} {component!r}" for kind, component in components)
    part = "which takes no part here" if len(components) == 1 else "which take no part here"
    raise IncompatibleError(
        f"`preset` {name!r} gives values to the {owners}, {part}: choose {choose}, or leave the preset out."
    )


def _preset_of(kind: Kind, part: Parameters, name: str, of_file: Sequence[Preset] | None) -> Preset | None:
    """Return the preset of a part: of a file, or registered; None if there is none of that name."""
    if of_file is not None:
        own = (one for one in of_file if one.component[0] == kind)
        return next((one for one in own if part_class(kind, one.component[1]) is type(part)), None)
    if all(fold(preset.name) != fold(name) for preset in _presets_of(kind, part)):
        return None
    return registry().preset(kind, name_of(kind, part), name)


def _presets_of(kind: Kind, part: Parameters) -> list[Preset]:
    try:
        return registry().presets(kind, name_of(kind, part))
    except UnknownNameError:  # a class that no plug-in registered has no presets
        return []


def _scaled(part: Parameters, preset: Preset, steps: int) -> dict[str, Any]:
    bounds = {field for field, info in type(part).model_fields.items() if info.annotation == StepOrFraction}
    return {
        field: round(value * steps / preset.reference_steps) if field in bounds and isinstance(value, int) else value
        for field, value in preset.values.items()
        if field not in part.model_fields_set
    }
