"""Find the mistake behind a generation that differs from the reference's, by trying corrections.

A hypothesis is a change of what the backbone is asked: another sign, time, noise level on the way, or guidance. Where one gives the
reference's latents, it is named, and nothing else. Where none does, only what was ruled out is said.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from headrouter.attention.guidance import rescaled
from headrouter.attention.rows import Row
from headrouter.models.backbone import Backbone
from headrouter.testing.probe import (
    SIGMA,
    changed_tensor,
    distance,
    euler,
    latents_of,
    noise_of,
    rows_of,
    two_passes,
    with_tensors,
)
from headrouter.testing.subjects import Generation, Reference

_Run = Callable[[], Tensor]
_GOLDEN: Final = (5**0.5 - 1) / 2


def hint(backbone: Backbone, reference: Reference, asked: Generation, close: float) -> str:
    """Return what is wrong, as the end of a sentence.

    Args:
        backbone: Gives other latents than the reference.
        reference: Gives the right ones.
        asked: The generation in which they differ.
        close: Relative distance at which latents are the same.
    """
    alone = replace(asked, guidance=1.0, steps=2)
    wanted = reference(backbone, alone)
    if distance(euler(backbone, alone), wanted) > close:
        return _lost(backbone, alone) or _without_guidance(backbone, reference, alone, wanted, close)
    short = replace(asked, steps=2)
    wanted = reference(backbone, short)
    if distance(euler(backbone, short), wanted) > close:
        return _lost(backbone, short) or _with_guidance(backbone, short, wanted, close)
    return _with_more_steps(backbone, reference, asked, close)


def _without_guidance(backbone: Backbone, reference: Reference, asked: Generation, wanted: Tensor, close: float) -> str:
    found = _first(_of_velocity(backbone, asked), wanted, close)
    if found:
        return found
    middle = _middle(backbone, asked, wanted)
    once, sigma = replace(asked, steps=1), backbone.sigmas(2, asked.width, asked.height).tolist()[1]
    if middle is None or abs(middle - sigma) <= 1e-3 * sigma:
        if distance(euler(backbone, once), reference(backbone, once)) <= close:
            return (
                f"the second step, at σ = {sigma:.4f}, since the first is right; look at the time that the model is told, which may"
                " be that before a shift of the grid"
            )
        return (
            "they differ without guidance, too, and neither sign, time nor shift alone makes them right; look at how latents are"
            " packed, at position ids and at the conditioning"
        )
    return (
        f"the shift of the time grid, since the reference steps by way of σ = {middle:.4f} where `sigmas` has {sigma:.4f}; look at"
        " how `set_steps` sets the scheduler"
    )


def _with_guidance(backbone: Backbone, asked: Generation, wanted: Tensor, close: float) -> str:
    return _first(_of_guidance(backbone, asked), wanted, close) or (
        f"guidance (g = {asked.guidance:g}), since they are the reference's without it; look at how `combine` joins both branches"
    )


def _first(hypotheses: Iterator[tuple[str, _Run]], wanted: Tensor, close: float) -> str:
    return next((name for name, run in hypotheses if _off(run, wanted) <= close), "")


def _off(run: _Run, wanted: Tensor) -> float:
    """Return how far a run is from what is wanted; infinitely where the model does not take what it is asked."""
    try:
        return distance(run(), wanted)
    except Exception:
        return math.inf


def _of_velocity(backbone: Backbone, asked: Generation) -> Iterator[tuple[str, _Run]]:
    """Yield what may be wrong with a velocity without guidance, and the run that would then be right."""
    times: tuple[tuple[str, Callable[[float], float]], ...] = (
        ("1000 times too small", lambda sigma: 1000 * sigma),
        ("1000 times too large", lambda sigma: sigma / 1000),
        ("1 − σ where it should be σ, or the other way round", lambda sigma: 1 - sigma),
    )
    yield "the sign of the velocity is reversed", lambda: euler(backbone, asked, sign=-1.0)
    for name, time in times:
        yield f"the time that the model is told is {name}", lambda time=time: euler(backbone, asked, time=time)  # type: ignore[misc]
        yield (
            f"the sign of the velocity is reversed and the time that the model is told is {name}",
            lambda time=time: euler(backbone, asked, sign=-1.0, time=time),  # type: ignore[misc]
        )
    [row] = rows_of(backbone, asked.prompt, guidance=asked.guidance, pictures=asked.pictures)
    if not two_passes(backbone, row):
        for name, factor in (("1000 times too small", 1000.0), ("1000 times too large", 1e-3)):
            yield (
                f"the embedded guidance that the model is told is {name}",
                lambda factor=factor: euler(backbone, replace(asked, guidance=factor * asked.guidance)),  # type: ignore[misc]
            )
    [nothing] = rows_of(backbone, "", guidance=asked.guidance, pictures=asked.pictures)
    for name, tensor in row.prompt.tensors.items():
        others = [("zero", torch.zeros_like(tensor))]
        empty = nothing.prompt.tensors[name]
        if empty.shape == tensor.shape:
            others.append(("that of the empty prompt", empty))
        for what, other in others:
            yield (
                f"the prompt's tensor {name!r}, which is {what} in the reference",
                lambda name=name, other=other: euler(
                    backbone, asked, change=lambda row: with_tensors(row, **{name: other})
                ),  # type: ignore[misc]
            )


def _of_guidance(backbone: Backbone, asked: Generation) -> Iterator[tuple[str, _Run]]:
    """Yield what may be wrong with guidance where velocities without it are right."""
    given = asked.guidance
    for name, other in (("too small by 1", given + 1), ("too large by 1", given - 1)):
        yield f"guidance is {name}", lambda other=other: euler(backbone, replace(asked, guidance=other))  # type: ignore[misc]
    yield (
        "the two branches of guidance are swapped",
        lambda: euler(backbone, replace(asked, guidance=1 - given)),
    )
    for name, axes in (("of each position", 0), ("of each token", "token"), ("of all latents", None)):
        yield (
            f"guidance, whose result the reference rescales to the norm {name} without it; override `combine`",
            lambda axes=axes: euler(backbone, asked, velocity=_rescaling(backbone, axes)),  # type: ignore[misc]
        )


def _rescaling(backbone: Backbone, axes: Any) -> Callable[[Tensor, float, Sequence[Row]], Tensor]:
    def velocity(latents: Tensor, sigma: float, rows: Sequence[Row]) -> Tensor:
        [row] = rows
        branches = [
            backbone.velocity(latents, sigma, [replace(row, prompt=prompt, negative=prompt, guidance=1.0)])
            for prompt in (row.negative, row.prompt)
        ]
        unconditional, conditional = (branch[0] for branch in branches)
        if axes != "token":
            return rescaled(unconditional, conditional, row.guidance, axes=axes)[None]
        channels, height, width = conditional.shape
        split = (channels, height // 2, 2, width // 2, 2)
        tokens = rescaled(unconditional.reshape(split), conditional.reshape(split), row.guidance, axes=(0, 2, 4))
        return tokens.reshape(conditional.shape)[None]

    return velocity


def _with_more_steps(backbone: Backbone, reference: Reference, asked: Generation, close: float) -> str:
    for steps in range(3, asked.steps + 1):
        short = replace(asked, steps=steps)
        if distance(euler(backbone, short), reference(backbone, short)) > close:
            return f"they are the reference's of {steps - 1} steps, not of {steps}; look at what depends on steps and noise levels"
    return "rounding, which adds up over the steps; look at the dtype of time and latents"


def _lost(backbone: Backbone, asked: Generation) -> str:
    """Name what does not reach the model at all."""
    [row], latents = (
        rows_of(backbone, asked.prompt, guidance=asked.guidance, negative=asked.negative, pictures=asked.pictures),
        latents_of(backbone),
    )
    plain = backbone.velocity(latents, SIGMA, [row])
    if distance(backbone.velocity(latents, SIGMA / 2, [row]), plain) <= 1e-6:
        return "the time, which does not reach the model"
    for name in row.prompt.tensors:
        other = with_tensors(row, **{name: changed_tensor(row.prompt, name)})
        if distance(backbone.velocity(latents, SIGMA, [other]), plain) <= 1e-6:
            return f"the prompt's tensor {name!r}, which does not reach the model"
    if two_passes(backbone, row) and asked.guidance != 1:
        [other] = rows_of(backbone, asked.prompt, guidance=asked.guidance, negative="red", pictures=asked.pictures)
        if distance(backbone.velocity(latents, SIGMA, [other]), plain) <= 1e-6:
            return "the negative prompt, which does not reach the model"
    return ""


def _middle(backbone: Backbone, asked: Generation, wanted: Tensor) -> float | None:
    """Return the noise level between 1 and 0 by which two steps give what is wanted; None if there is none."""
    [row], first = (
        rows_of(backbone, asked.prompt, guidance=asked.guidance, pictures=asked.pictures),
        backbone.sigmas(2, asked.width, asked.height).tolist()[0],
    )
    start = noise_of(backbone, asked)
    away = backbone.velocity(start, first, [row])

    def off(middle: float) -> float:
        latents = start + (middle - first) * away
        return distance(latents - middle * backbone.velocity(latents, middle, [row]), wanted)

    best = min((first * place / 16 for place in range(1, 16)), key=off)
    low, high = best - first / 16, best + first / 16
    places = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    found = [off(place) for place in places]
    while high - low > 1e-7 * first:
        if found[0] < found[1]:
            high, places, found = places[1], [0.0, places[0]], [0.0, found[0]]
            places[0] = high - _GOLDEN * (high - low)
            found[0] = off(places[0])
        else:
            low, places, found = places[0], [places[1], 0.0], [found[1], 0.0]
            places[1] = low + _GOLDEN * (high - low)
            found[1] = off(places[1])
    return places[0] if min(found) <= 1e-4 else None
