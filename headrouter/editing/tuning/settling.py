"""Apply presets and knobs, values that a user sets by one word, to the parts that have them."""

import json
import warnings
from collections.abc import Sequence, Set
from typing import Literal

from headrouter.editing.assembly import Part, changed, kind_of, name_of
from headrouter.editing.tuning.knob import field_of, with_knob
from headrouter.editing.tuning.plan import Knobs, Only, Plan
from headrouter.editing.tuning.preset import with_preset
from headrouter.errors import IncompatibleError, SourceWarning
from headrouter.imaging.pasting import FEATHER
from headrouter.masks.mask import Mask, NoMask
from headrouter.methods.method import Method
from headrouter.models.backbone import Defaults
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import VelocityOperator, refuse_misfit_operators


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

    Warns:
        SourceWarning: parts put the source back, and the source's row is not the picture.
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
    if only is None:
        _warn_of_another_source(inversion, (*operators, *chosen))
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


def _warn_of_another_source(inversion: Inversion, parts: Sequence[VelocityOperator | Method]) -> None:
    """Warn of parts that put the source back where the source's row is not the picture.

    Python shows it once.

    Warns:
        SourceWarning: naming them, and what to set.
    """
    restoring = [f"`{kind_of(part)}` {name_of(kind_of(part), part)!r}" for part in parts if part.restores_source]
    settings = [f"`inversion.{name}={json.dumps(value)}`" for name, value in inversion.keeps_source_by.items()]
    if restoring and settings:
        warnings.warn(
            f"{', '.join(restoring)} keeps the source in places, and the source's row of `inversion` "
            f"{name_of('inversion', inversion)!r} with these parameters is not the picture, but what the model makes of it. Set "
            f"{', '.join(settings)}, with which it is the picture.",
            SourceWarning,
            stacklevel=2,
        )


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
