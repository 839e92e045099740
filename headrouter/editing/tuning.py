"""Apply presets and knobs, values that a user sets by one word, to the parts that have them."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

from pydantic import Field

from headrouter.config.configuration import Parameters
from headrouter.config.step_or_fraction import StepOrFraction
from headrouter.editing.assembly import Part, changed, name_of
from headrouter.errors import IncompatibleError, InvalidInputError, UnknownNameError
from headrouter.methods.method import Method
from headrouter.models.backbone import Defaults
from headrouter.plugins import registry
from headrouter.plugins.names import fold, resolve
from headrouter.plugins.specifications import Kind, Preset
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import VelocityOperator, refuse_without_source_velocity

Steps = Annotated[int, Field(ge=1, le=10_000)]
Guidance = Annotated[float, Field(ge=0, lt=1000)]
Only = Literal["inversion", "reconstruction"]


class Knobs(Parameters):
    """Holds the values that a user sets beside the parameters of the parts."""

    preset: str | None = Field(None, description="Name of published or measured values, see `headrouter presets`.")
    keep: float | None = Field(None, description="Share of the source to keep, η of `rf`.")
    push: float | None = Field(None, description="Strength of the edit, γ of `headrouter`.")
    steps: Steps | None = Field(None, description="Steps of the time grid.")
    guidance: Guidance | None = Field(None, description="Guidance while sampling.")


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """Says how a run is done: the parts with presets and knobs applied, and nothing left open.

    Attributes:
        inversion: From picture to noise and back.
        methods: Methods that steer, in order.
        steps: Of the time grid.
        guidance: While sampling.
        operators: Velocity operators, in order.
    """

    inversion: Inversion
    methods: tuple[Method, ...]
    steps: int
    guidance: float
    operators: tuple[VelocityOperator, ...] = ()

    @property
    def inversion_is_guided(self) -> bool:
        """Return whether the inversion evaluates the negative prompt."""
        return self.inversion.inversion_prompt == "source" and self.inversion.inversion_guidance != 1

    @property
    def inverting_operators(self) -> tuple[VelocityOperator, ...]:
        """Return the operators that act while inverting, which the inverted latents depend on."""
        return tuple(operator for operator in self.operators if operator.acts_in == "invert")


def settle(
    knobs: Knobs,
    inversion: Inversion,
    methods: Sequence[Method],
    defaults: Defaults,
    *,
    operators: Sequence[VelocityOperator] = (),
    only: Only | None = None,
) -> Plan:
    """Apply preset and knobs, and fill in what the user left open.

    Args:
        knobs: Values that the user sets.
        inversion, methods, operators: With the parameters that the user gave.
        defaults: Of the model.
        only: Part of the run if no edits are made: the inversion, or it and sampling without methods.

    Raises:
        HeadRouterError: what cannot be done, and a preset or knob that would have no effect.
    """
    if knobs.steps is not None:
        inversion = changed(inversion, {"steps": knobs.steps})
    steps, given, chosen = inversion.steps or defaults.steps, inversion, tuple(methods)
    if knobs.preset is not None:
        inversion, chosen = with_preset(knobs.preset, inversion, chosen, steps)
        _refuse_idle("preset", knobs, inversion.model_fields_set - given.model_fields_set, inversion, only)
    inversion, chosen = with_knob("keep", knobs.keep, inversion, chosen)
    if knobs.keep is not None:
        _refuse_idle("keep", knobs, {field_of("keep", inversion)}, inversion, only)
    inversion, chosen = with_knob("push", knobs.push, inversion, chosen)
    inversion.sampling_steps(steps)  # refuses what cannot be met, before a model runs
    refuse_without_source_velocity(operators, inversion, name_of)
    wishes = (knobs.guidance, inversion.guidance, defaults.guidance)
    guidance = next(wish for wish in wishes if wish is not None)
    return Plan(inversion, chosen, steps, guidance, tuple(operators))


def _refuse_idle(
    option: Literal["preset", "keep"], knobs: Knobs, fields: Set[str | None], inversion: Inversion, only: Only | None
) -> None:
    """Refuse an option that sets no ``fields`` of the inversion which a run without edits depends on.

    Raises:
        IncompatibleError: it would have no effect.
    """
    samples = only == "reconstruction"
    acting = type(inversion).model_fields if samples else inversion.inversion_parameters
    if only and (samples or inversion.inverts) and fields.isdisjoint(acting):
        does = "is sampled without it" if samples else "inverts without it"
        raise IncompatibleError(
            f"`{option}` {getattr(knobs, option)!r} would have no effect: `inversion` {name_of('inversion', inversion)!r} {does}."
            " Give it to the edits."
        )


def with_preset(
    name: str, inversion: Inversion, methods: Sequence[Method], steps: int
) -> tuple[Inversion, tuple[Method, ...]]:
    """Give the parts the values of a preset, except those that the user set; step numbers are scaled to ``steps``.

    A preset may have values for several components, registered under the same name: each part that takes part gets its own.

    Raises:
        UnknownNameError: no preset of that name.
        IncompatibleError: none of its components takes part.
    """

    def tuned(kind: Kind, part: Part) -> Part | None:
        if all(fold(preset.name) != fold(name) for preset in _presets_of(kind, part)):
            return None
        owner = name_of(kind, part)
        values = _scaled(part, registry().preset(kind, owner, name), steps)
        try:
            return changed(part, values)
        except InvalidInputError as error:
            raise InvalidInputError(
                f"`preset` {name!r} does not fit the {kind} {owner!r} as it is set: {error}"
            ) from error

    found_inversion = tuned("inversion", inversion)
    found_methods = [tuned("method", method) for method in methods]
    if found_inversion is not None or any(found is not None for found in found_methods):
        pairs = zip(methods, found_methods, strict=True)
        return found_inversion or inversion, tuple(found or method for method, found in pairs)
    components = [preset.component for preset in registry().presets() if fold(preset.name) == fold(name)]
    if not components:
        resolve("preset", name, registry().entries("preset"))  # says what is meant
    owners = " and the ".join(f"{kind} {component!r}" for kind, component in components)
    choose = " or ".join(f"{kind} {component!r}" for kind, component in components)
    part = "which takes no part here" if len(components) == 1 else "which take no part here"
    raise IncompatibleError(
        f"`preset` {name!r} gives values to the {owners}, {part}: choose {choose}, or leave the preset out."
    )


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


def with_knob(
    knob: str, value: float | None, inversion: Inversion, methods: Sequence[Method]
) -> tuple[Inversion, tuple[Method, ...]]:
    """Set a knob (``keep``, ``push``) on the first part that has it; None leaves it.

    Raises:
        IncompatibleError: no part has it.
        InvalidInputError: the value is out of range.
    """
    if value is None:
        return inversion, tuple(methods)
    try:
        if field := field_of(knob, inversion):
            return changed(inversion, {field: value}), tuple(methods)
        for place, method in enumerate(methods):
            if field := field_of(knob, method):
                return inversion, (*methods[:place], changed(method, {field: value}), *methods[place + 1 :])
    except InvalidInputError as error:
        raise InvalidInputError(f"`{knob}` cannot be {value!r}: {error}") from error
    names = ", ".join(type(part).__name__ for part in (inversion, *methods))
    raise IncompatibleError(f"`{knob}` has no meaning here: none of the parts ({names}) has such a knob.")


def field_of(knob: str, part: Parameters) -> str | None:
    """Return the field that a part has for a knob, or None."""
    for field, info in type(part).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("knob") == knob:
            return field
    return None
