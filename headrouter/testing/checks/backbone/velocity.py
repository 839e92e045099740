"""Check the velocity: each row's number, under its own prompt and guidance, and independent of other rows."""

from dataclasses import replace

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import BatchRow
from headrouter.testing.check import check, collect, expect
from headrouter.testing.probe import (
    QUOTED,
    SIGMA,
    changed_tensor,
    distance,
    filling,
    latents_of,
    recorded,
    rows_of,
    text_length,
    two_passes,
    with_tensors,
)
from headrouter.testing.snapshot import differences, snapshot
from headrouter.testing.subjects import BackboneSubject

CLOSE = 1e-5


@check(since="0.1")
def a_velocity_is_float32_of_the_latents_shape(subject: BackboneSubject) -> None:
    """A velocity is float32, finite, without gradient, of the latents' shape, on the backbone's device.

    If this fails: guidance is combined in float32; wrap the model's call in `torch.no_grad()`.
    """
    backbone = subject.build()
    latents = latents_of(backbone, 2)
    with torch.enable_grad():
        velocity = backbone.velocity(latents, SIGMA, rows_of(backbone, "a cat", "a dog"))
    expect(velocity.dtype == torch.float32, f"the velocity is {velocity.dtype}")
    expect(velocity.shape == latents.shape, f"the velocity is {tuple(velocity.shape)} for {tuple(latents.shape)}")
    expect(not velocity.requires_grad, "the velocity carries a gradient")
    expect(velocity.device == latents.device, f"the velocity is on {velocity.device}")
    expect(bool(velocity.isfinite().all()), "the velocity is not finite")


@check(since="0.1")
def a_velocity_is_a_function(subject: BackboneSubject) -> None:
    """Equal inputs give equal velocities, and change neither the global random state nor the latents.

    If this fails: a backbone draws no noise; dropout is off in evaluation mode; never write into what is given.
    """
    backbone = subject.build()
    rows, latents = rows_of(backbone, "a cat"), latents_of(backbone)
    kept, state = latents.clone(), torch.random.get_rng_state()
    first = backbone.velocity(latents, SIGMA, rows)
    expect(torch.equal(torch.random.get_rng_state(), state), "`velocity` draws from the global random generator")
    expect(torch.equal(latents, kept), "`velocity` writes into the latents")
    expect(torch.equal(backbone.velocity(latents, SIGMA, rows), first), "the same velocity differs from call to call")


@check(since="0.1")
def the_model_is_left_alone(subject: BackboneSubject) -> None:
    """Encoding, velocities and decoding change neither weights nor their dtype, device and gradients, nor the modules.

    If this fails: compute on casts, not by casting the model; restore what must be changed.
    """
    backbone = subject.build()
    before, latents = snapshot(backbone), latents_of(backbone)
    backbone.velocity(latents, SIGMA, rows_of(backbone, "a cat"))
    backbone.decode(latents)
    left = differences(before, snapshot(backbone), ("structure", "modes", "weights"))
    expect(not left, f"a velocity has changed {left}")


@check(since="0.1")
def everything_it_is_told_matters(subject: BackboneSubject) -> None:
    """Noise level, latents, prompt, and each tensor of the conditioning change the velocity.

    If this fails: pass it to the model. Pooled embeddings and masks of the prompt are easily lost.
    """
    backbone = subject.build()
    [row, other], latents = rows_of(backbone, "a cat", "a dog", guidance=1.0), latents_of(backbone)
    plain = backbone.velocity(latents, SIGMA, [row])
    asked = {
        "the noise level σ": backbone.velocity(latents, 0.3, [row]),
        "the latents": backbone.velocity(latents + 0.1, SIGMA, [row]),
        "the prompt": backbone.velocity(latents, SIGMA, [other]),
    }
    for name in row.prompt.tensors:
        changed = with_tensors(row, **{name: changed_tensor(row.prompt, name)})
        asked[f"the prompt's tensor {name!r}"] = backbone.velocity(latents, SIGMA, [changed])
    for name, velocity in asked.items():
        expect(distance(velocity, plain) > 1e-5, f"{name} does not matter to the velocity")


@check(since="0.1")
def rows_are_independent(subject: BackboneSubject) -> None:
    """Each row's velocity is the one it has alone, whatever the other rows and their order.

    If this fails: nothing may be averaged, normalised or broadcast over the batch; prompts and latents must stay together. Where
    prompts have lengths of their own, what fills a short one up must not be attended to (`text_mask`).
    """
    backbone = subject.build()
    rows, latents = rows_of(backbone, "a cat", filling(backbone), QUOTED), latents_of(backbone, 3)
    together = backbone.velocity(latents, SIGMA, rows)
    for index, row in enumerate(rows):
        alone = backbone.velocity(latents[index : index + 1], SIGMA, [replace(row, edit=None)])
        off = distance(together[index], alone[0])
        expect(off <= CLOSE, f"row {index} of three differs by {off:.1e} from the same row alone")
    off = distance(backbone.velocity(latents.flip(0), SIGMA, rows[::-1]).flip(0), together)
    expect(off <= CLOSE, f"velocities differ by {off:.1e} when the rows come in reverse order")


@check(since="0.1")
def batch_size_tells_the_rows(subject: BackboneSubject) -> None:
    """`batch_size(rows)` is the number of rows that the model sees, which is the number that events carry.

    If this fails: use `headrouter.attention.rows.batch_rows` for both, with the same `guided`.
    """
    backbone = subject.build()
    rows, latents = rows_of(backbone, "a cat", "a dog"), latents_of(backbone, 2)
    for guidances in ((3.0, 3.0), (1.0, 3.0), (0.0, 1.0)):
        asked = [replace(row, guidance=guidance) for row, guidance in zip(rows, guidances, strict=True)]
        told = backbone.batch_size(asked)
        for event in recorded(backbone, latents, asked).events[:1]:
            expect(told == len(event.rows), f"`batch_size` is {told}, and events carry {len(event.rows)} rows")
            expect(told == event.query.shape[0], f"`batch_size` is {told}, and the model sees {event.query.shape[0]}")


@check(since="0.1")
def each_branch_is_what_it_says(subject: BackboneSubject) -> None:
    """Row i of an event has the prompt and latents of `event.rows[i]`; its pair is the source's.

    If this fails: the conditioning must be stacked in the order of the batch rows; the unconditional branch takes the negative
    prompt. Halves swapped in a batch make methods steer the wrong one.
    """
    backbone = subject.build()
    rows, latents = rows_of(backbone, "a cat", QUOTED, negative="red"), latents_of(backbone, 2)
    twice = two_passes(backbone, rows[0])
    event = recorded(backbone, latents, rows).events[0]
    expect(
        {item.index for item in event.rows} == {0, 1}, f"rows {[item.index for item in event.rows]} of 2 are evaluated"
    )
    for place, item in enumerate(event.rows):
        expect(item.row is rows[item.index], f"batch row {place} says it is row {item.index}, and carries another")
        alone = replace(rows[item.index], prompt=item.prompt, edit=None, guidance=1.0 if twice else 3.0)
        one = recorded(backbone, latents[item.index : item.index + 1], [alone]).events[0]
        length = text_length(one.layout)
        off = distance(_keys(event, place, length), _keys(one, 0, length))
        expect(
            off <= CLOSE,
            f"the {item.cfg_branch} branch of row {item.index} is not conditioned on its own prompt, {item.prompt.text!r}, and "
            f"latents: its keys are off by {off:.1e}. Are the branches swapped?",
        )
        pair = None if item.row.is_source else _place(event.rows, 0, item.cfg_branch)
        expect(
            item.pair == pair,
            f"the pair of the {item.cfg_branch} branch of row {item.index} is {item.pair}, not {pair}",
        )


def _keys(event: JointAttention, place: int, length: int) -> Tensor:
    """Return keys of the first ``length`` text tokens and of the image; others fill a short prompt up."""
    text, image = event.layout.text, event.layout.image
    return torch.cat([event.key[place, :, text.start : text.start + length], event.key[place, :, image]], dim=1)


def _place(items: tuple[BatchRow, ...], index: int, branch: str) -> int:
    return next(place for place, item in enumerate(items) if (item.index, item.cfg_branch) == (index, branch))


@check(since="0.1", requires={"guidance"})
def guidance_is_what_it_says(subject: BackboneSubject) -> None:
    """Two evaluations give what `combine` makes of both branches; embedded guidance g changes the velocity.

    That is v(negative) + g·(v(prompt) − v(negative)) unless overridden, and one branch alone at g = 0 and g = 1.

    If this fails: combine once, in float32, as `headrouter.attention.rows.guided_velocity` does; the unconditional branch has the
    negative prompt.
    """
    backbone = subject.build()
    [row], latents = rows_of(backbone, "a cat", negative="the dog"), latents_of(backbone)
    if not two_passes(backbone, row):
        told = [backbone.velocity(latents, SIGMA, [replace(row, guidance=guidance)]) for guidance in (1.0, 5.0)]
        expect(distance(*told) > 1e-5, "guidance changes nothing, neither by two evaluations nor embedded")
        return
    prompt, negative = (
        backbone.velocity(latents, SIGMA, [replace(row, prompt=text, negative=text, guidance=1.0)])
        for text in (row.prompt, row.negative)
    )
    for guidance in (0.0, 1.0, 3.0, -0.5):
        velocity = backbone.velocity(latents, SIGMA, [replace(row, guidance=guidance)])
        if guidance in (0.0, 1.0):
            wanted = prompt if guidance else negative
        else:
            wanted = backbone.combine(negative[0], prompt[0], guidance, SIGMA)[None]
        off = distance(velocity, wanted)
        expect(
            off <= CLOSE,
            f"guidance {guidance} is off by {off:.1e} from what `combine` makes of v(negative) and v(prompt)",
        )


@check(since="0.1", requires={"guidance"})
def guidance_costs_no_more_than_it_must(subject: BackboneSubject) -> None:
    """Guidance 1 evaluates the prompt alone, and guidance 0 the negative prompt alone.

    If this fails: `headrouter.attention.rows.batch_rows` leaves out the branch that has no weight.
    """
    backbone = subject.build()
    [row], latents = rows_of(backbone, "a cat"), latents_of(backbone)
    if not two_passes(backbone, row):
        return
    for guidance, branch in ((1.0, "conditional"), (0.0, "unconditional")):
        found = [
            item.cfg_branch for item in recorded(backbone, latents, [replace(row, guidance=guidance)]).events[0].rows
        ]
        expect(found == [branch], f"guidance {guidance:g} evaluates {found}")


CHECKS = collect(globals())
