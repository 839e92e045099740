"""Apply presets and knobs, values that a user sets by one word, to the parts that have them."""

import os
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, final

from pydantic import Field, field_validator

from headrouter.config.configuration import Parameters
from headrouter.config.step_or_fraction import StepOrFraction
from headrouter.editing.assembly import Part, changed, name_of, part_class
from headrouter.errors import IncompatibleError, InvalidInputError, UnknownNameError
from headrouter.imaging.pasting import FEATHER
from headrouter.masks.mask import Mask, NoMask
from headrouter.methods.method import Method
from headrouter.models.backbone import Defaults
from headrouter.plugins import registry
from headrouter.plugins.names import fold, resolve
from headrouter.plugins.preset_file import is_preset_file, read_presets
from headrouter.plugins.specifications import Kind, Preset
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import VelocityOperator, refuse_misfit_operators

Steps = Annotated[int, Field(ge=1, le=10_000)]
Guidance = Annotated[float, Field(ge=0, lt=1000)]
Only = Literal["inversion", "reconstruction"]
Strength = Literal["auto"]


class Knobs(Parameters):
    """Holds the values that a user sets beside the parameters of the parts."""

    preset: str | None = Field(
        None, description="Name of published or measured values, see `headrouter presets`, or the file of a preset."
    )
    keep: float | None = Field(None, ge=0, description="Share of the source to keep, η of `rf`.")
    push: float | None = Field(None, ge=0, description="Strength of the edit, γ of `headrouter`.")
    strength: Strength | None = Field(
        None, description="Edit at several strengths, and keep of each edit the weakest that took: `auto`."
    )
    steps: Steps | None = Field(None, description="Steps of the time grid.")
    guidance: Guidance | None = Field(None, description="Guidance while sampling.")
    paste: bool = Field(False, description="Put the original pixels back outside the mask, at full size.")
    feather: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description=f"Width of the seam of `paste`, as a share of the picture's shorter side; {FEATHER} if not given.",
    )

    @field_validator("preset", mode="before")
    @classmethod
    def _path_as_text(cls, value: Any) -> Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else value


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
        mask: Mask of the edit, which the parts that take it have; None if the user gave none.
        paste: Whether the original pixels are put back outside the mask.
        feather: Width of the seam, as a share of the picture's shorter side.
        strength: Whether each edit is made at all strengths of the inversion, of which one is kept; None for one as it is set.
    """

    inversion: Inversion
    methods: tuple[Method, ...]
    steps: int
    guidance: float
    operators: tuple[VelocityOperator, ...] = ()
    mask: Mask | None = None
    paste: bool = False
    feather: float = FEATHER
    strength: Strength | None = None

    def at_strengths(self) -> "tuple[Plan, ...]":
        """Return the plan at each strength of its inversion, from the weakest to the strongest.

        Raises:
            IncompatibleError: the inversion has no strengths, or the user set the one to edit at.
        """
        scale = self.inversion.strengths
        if scale is None:
            raise IncompatibleError(
                f"`strength` 'auto' has nothing to choose: `inversion` {name_of('inversion', self.inversion)!r} has no parameter "
                "that makes an edit stronger. Choose another, such as 'flowedit', or leave it out."
            )
        given = getattr(self.inversion, scale.parameter)
        if given != type(self.inversion).model_fields[scale.parameter].default:
            raise IncompatibleError(
                f"`strength` 'auto' chooses `inversion.{scale.parameter}` of {list(scale.values)}, and it is set to {given!r}, by"
                " you or by a preset. Leave one out."
            )
        inversions = [changed(self.inversion, {scale.parameter: value}) for value in scale.values]
        return tuple(replace(self, inversion=one, strength=None) for one in inversions)

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
    mask: Mask | None = None,
) -> Plan:
    """Apply preset and knobs, and fill in what the user left open.

    Args:
        knobs: Values that the user sets.
        inversion, methods, operators: With the parameters that the user gave.
        defaults: Of the model.
        only: Part of the run if no edits are made: the inversion, or it and sampling without methods.
        mask: Where the edit may act.

    Raises:
        HeadRouterError: what cannot be done, and a preset, mask or knob that would have no effect.
    """
    if knobs.steps is not None:
        inversion = changed(inversion, {"steps": knobs.steps})
    mask = None if isinstance(mask, NoMask) else mask
    operators, chosen = with_mask(mask, operators, methods, knobs)
    steps, given = inversion.steps or defaults.steps, inversion
    if knobs.preset is not None:
        inversion, chosen, operators = with_preset(knobs.preset, inversion, chosen, steps, operators)
        steps = inversion.steps or defaults.steps
        _refuse_idle("preset", knobs, inversion.model_fields_set - given.model_fields_set, inversion, only)
    inversion, chosen = with_knob("keep", knobs.keep, inversion, chosen)
    if knobs.keep is not None:
        _refuse_idle("keep", knobs, {field_of("keep", inversion)}, inversion, only)
    inversion, chosen = with_knob("push", knobs.push, inversion, chosen)
    inversion.sampling_steps(steps)  # refuses what cannot be met, before a model runs
    refuse_misfit_operators(operators, inversion, steps, name_of)
    wishes = (knobs.guidance, inversion.guidance, defaults.guidance)
    guidance = next(wish for wish in wishes if wish is not None)
    feather, strength = knobs.feather or FEATHER, knobs.strength
    plan = Plan(inversion, chosen, steps, guidance, tuple(operators), mask, knobs.paste, feather, strength)
    for one in plan.at_strengths() if strength else ():  # refused before a model runs
        one.inversion.sampling_steps(steps)
        refuse_misfit_operators(operators, one.inversion, steps, name_of)
    return plan


def with_mask(
    mask: Mask | None, operators: Sequence[VelocityOperator], methods: Sequence[Method], knobs: Knobs
) -> tuple[tuple[VelocityOperator, ...], tuple[Method, ...]]:
    """Give the mask of an edit to each part that takes it and has none that the user set.

    Raises:
        IncompatibleError: it would have no effect, or what needs a mask would have none.
    """
    changing, steering = [_masked(one, mask) for one in operators], [_masked(one, mask) for one in methods]
    if knobs.feather is not None and not knobs.paste:
        raise IncompatibleError(
            f"`feather` {knobs.feather} would have no effect: it is the width of the seam of `paste`. Give `paste=True`, or "
            "leave it out."
        )
    masks = [getattr(part, "mask", None) for part in (*changing, *steering)]
    if knobs.paste and mask is None and not any(masks):
        raise IncompatibleError(
            "`paste` puts the original pixels back outside a mask, and there is none. Give a `mask`, such as a picture or "
            "'velocity'."
        )
    if mask is not None and not knobs.paste and mask not in masks:
        named = [*(name_of("operator", one) for one in operators), *(name_of("method", one) for one in methods)]
        raise IncompatibleError(
            f"`mask` would have no effect: no operator and no method takes it ({', '.join(named) or 'none'}), or each has its own. "
            "Add the operator 'mask' or the method 'local-blend', which keep the source outside it, or `paste`, which puts the "
            "original pixels back there."
        )
    return tuple(changing), tuple(steering)


def _masked(part: Part, mask: Mask | None) -> Part:
    field = field_of("mask", part)
    return part if mask is None or field is None or field in part.model_fields_set else changed(part, {field: mask})


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
            when: Any = extra.get("when", {})
            return field if all(getattr(part, name) == value for name, value in when.items()) else None
    return None
