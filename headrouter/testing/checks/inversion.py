"""Check an inversion over velocities that are known in closed form."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.config.configuration import validate
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.inversion import Inversion, RunInputs, State
from headrouter.testing.check import check, collect, expect
from headrouter.testing.known_velocity import Solved, are_alike
from headrouter.testing.subjects import InversionSubject

Field = Callable[[Tensor, float], Tensor]


def _noise(seed: int, images: int = 2) -> Tensor:
    return torch.randn(
        images, 3, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, device="cpu"
    )


def _grid(steps: int) -> list[float]:
    """Return a shifted grid, so that steps differ in length."""
    return [2 * (1 - i / steps) / (2 - i / steps) for i in range(steps + 1)]


def _smooth(latents: Tensor, sigma: float) -> Tensor:
    return math.cos(3 * sigma) * latents + 0.3


def _solved(field: Field, steps: int) -> Solved:
    return Solved(field, _grid(steps), _noise(0), _noise(1))


@check(since="0.1")
def its_description_is_sound(subject: InversionSubject) -> None:
    """Its steps are of the grid, its prompt `source` or `empty`, its guidances numbers; parameters are frozen.

    If this fails: steps are numbered from 0; an inversion is a frozen set of parameters.
    """
    inversion = subject.inversion
    expect(inversion.inversion_prompt in ("source", "empty"), f"`inversion_prompt` is {inversion.inversion_prompt!r}")
    expect(math.isfinite(inversion.inversion_guidance), f"`inversion_guidance` is {inversion.inversion_guidance}")
    for is_source in (True, False):
        expect(math.isfinite(inversion.sampling_guidance(is_source, 3.0)), "`sampling_guidance` is not a number")
    for steps in (1, 4, 9):
        for name, chosen in (
            ("sampling", inversion.sampling_steps(steps)),
            ("inversion", inversion.inversion_steps(steps)),
        ):
            expect(chosen.step == 1 and 0 <= chosen.start <= steps, f"`{name}_steps({steps})` is {chosen}")
            expect(chosen.stop <= steps, f"`{name}_steps({steps})` is {chosen}, and the grid has {steps} steps")
        expect(isinstance(inversion.needs_source(0, steps), bool), "`needs_source` does not answer yes or no")
    expect(inversion.model_config.get("frozen") is True, "its parameters can be changed after they were validated")


@check(since="0.4")
def its_strengths_are_values_of_a_parameter_of_sampling(subject: InversionSubject) -> None:
    """Each value of `strengths` can be set, and inverting does not depend on the parameter.

    If this fails: name a field and values that it takes; where there is an inversion, name the field in `sampling_only`.
    """
    inversion, scale = subject.inversion, subject.inversion.strengths
    if scale is None:
        return
    expect(len(set(scale.values)) == len(scale.values) > 1, f"`strengths` has no choice of values: {scale.values}")
    for value in scale.values:
        found = validate(type(inversion), {scale.parameter: value})
        expect(getattr(found, scale.parameter) == value, f"`{scale.parameter}` {value} becomes another value")
        for steps in (4, 9):
            expect(len(found.sampling_steps(steps)) > 0, f"`{scale.parameter}` {value} leaves no step of {steps}")
    expect(
        not inversion.inverts or scale.parameter in inversion.sampling_only,
        f"`strengths` names `{scale.parameter}`, which inverting depends on: `sampling_only` does not name it",
    )


@check(since="0.1")
def sampling_goes_against_the_velocity(subject: InversionSubject) -> None:
    """Under a constant velocity c, sampling moves by a negative multiple of c, and inversion by a positive one.

    If this fails: sampling goes from σ_i down to σ_{i+1}, so its step σ_{i+1} − σ_i is negative; inversion goes up.
    """
    inversion, direction = subject.inversion, _noise(3)
    moves = {}
    for name in ("sample", "invert"):
        ends = []
        for factor in (0.0, 1.0):
            solved = _solved(lambda latents, sigma, factor=factor: factor * direction, 6)  # type: ignore[misc]
            ends.append(solved.sample(inversion, _noise(2)) if name == "sample" else solved.invert(inversion))
        moves[name] = float(((ends[1] - ends[0]) * direction).sum() / direction.square().sum())
    expect(moves["sample"] <= 0, f"sampling moves along the velocity, by {moves['sample']:.2f} of it")
    if inversion.inverts:
        expect(moves["invert"] >= 0, f"inversion moves against the velocity, by {moves['invert']:.2f} of it")


@check(since="0.1", requires={"free"})
def a_constant_velocity_is_exact(subject: InversionSubject) -> None:
    """Over a constant velocity, inversion and sampling are exact, and the round trip returns the picture.

    If this fails: the steps of inversion are those of sampling, backwards: step j goes from σ_{N−j} to σ_{N−j−1}.
    """
    solved = _solved(lambda latents, sigma: torch.full_like(latents, 0.7), 9)
    noise = solved.invert(subject.inversion)
    expect(torch.allclose(noise, _noise(0) + 0.7, atol=1e-12), "the inversion of a constant velocity is not exact")
    back = solved.sample(subject.inversion, noise)
    expect(torch.allclose(back, _noise(0), atol=1e-12), "sampling a constant velocity does not return the picture")


@check(since="0.1")
def sampling_converges(subject: InversionSubject) -> None:
    """Over a smooth velocity, sampling converges with at least the order that it claims, less 0.3.

    If this fails: look at the noise level that the model is given in each evaluation, and at the weights of the evaluations.
    """
    ends = {steps: _solved(_smooth, steps).sample(subject.inversion, _noise(2)) for steps in (16, 32, 512)}
    errors = {steps: float((ends[steps] - ends[512]).norm()) for steps in (16, 32)}
    if errors[16] < 1e-10:
        return
    order = math.log2(errors[16] / max(errors[32], 1e-300))
    expect(
        order >= subject.order - 0.3,
        f"the order of sampling is measured as {order:.2f}, and {subject.order:g} is claimed",
    )


@check(since="0.1")
def it_asks_at_noise_levels(subject: InversionSubject) -> None:
    """The model is called at noise levels between 0 and 1, for the rows at hand.

    If this fails: σ runs from 1 (noise) to 0 (picture), whatever the model's own time scale; that is the backbone's business.
    """
    solved = _solved(_smooth, 5)
    solved.sample(subject.inversion, solved.invert(subject.inversion) if subject.inversion.inverts else _noise(2))
    wrong = [sigma for sigma in solved.noise_levels if not 0 <= sigma <= 1]
    expect(not wrong, f"the model is called at noise levels {wrong}")


@check(since="0.1")
def a_run_is_a_function(subject: InversionSubject) -> None:
    """Equal runs have equal results, in the dtype of the latents; random state and inputs stay as they are.

    If this fails: draw noise by `inputs.noise`, make new tensors instead of writing into given ones, keep no state on the object.
    """
    state, source, start = torch.random.get_rng_state(), _noise(0), _noise(2)
    results = []
    for _ in range(2):
        solved = Solved(_smooth, _grid(5), source, _noise(1))
        results.append((solved.invert(subject.inversion), solved.sample(subject.inversion, start)))
    expect(torch.equal(torch.random.get_rng_state(), state), "it draws from the global random generator")
    expect(torch.equal(source, _noise(0)), "it writes into the picture's latents")
    expect(torch.equal(start, _noise(2)), "it writes into the latents it starts from")
    for one, other, name in zip(results[0], results[1], ("inversion", "sampling"), strict=True):
        expect(torch.equal(one, other), f"the same {name} differs from run to run")
        expect(one.shape == source.shape, f"{name} gives {tuple(one.shape)} for {tuple(source.shape)}")
        expect(one.dtype == source.dtype, f"{name} gives {one.dtype} for {source.dtype}")


@check(since="0.1")
def it_draws_noise_where_it_says(subject: InversionSubject) -> None:
    """Other noise changes nothing in a phase that is not among its `seeded` ones.

    If this fails: name in `seeded` the phases whose steps call `inputs.noise`.
    """
    inversion = subject.inversion
    one, other = (Solved(_smooth, _grid(5), _noise(0), _noise(seed)) for seed in (1, 4))
    ends = {"sample": [solved.sample(inversion, _noise(2) if inversion.inverts else None) for solved in (one, other)]}
    if inversion.inverts:
        ends["invert"] = [solved.invert(inversion) for solved in (one, other)]
    for phase, (first, second) in ends.items():
        says = f"`seeded` does not name {phase!r}, where other noise gives another end"
        expect(phase in inversion.seeded or torch.equal(first, second), says)


@dataclass
class _Run:
    """Samples three rows: an edit of the first picture, another one, and one of the second."""

    inversion: Inversion
    inputs: RunInputs
    rows: list[Row]
    state: State

    @classmethod
    def of(cls, inversion: Inversion) -> "_Run":
        inputs = RunInputs(tuple(_grid(6)), _noise(0), lambda name, step: _noise(1), _noise(2))
        nothing = Prompt("", {})
        rows = [Row(nothing, nothing, 1.0, edit=edit, image=image) for image, edit in ((0, 0), (0, 1), (1, 0))]
        return cls(inversion, inputs, rows, inversion.initial_state(rows, inputs))

    def go(self, steps: Sequence[int]) -> Tensor:
        for step in steps:
            self.state = self.inversion.sample_step(step, self.state, self.rows, _velocity, self.inputs)
        return self.state.latents


def _velocity(latents: Tensor, sigma: float, rows: Sequence[Row], stage: int = 0, *, alike: bool = False) -> Tensor:
    expect(len(latents) == len(rows), f"the velocity of {len(latents)} latents is asked with {len(rows)} rows")
    expect(
        not alike or are_alike(latents, rows), "rows of one picture are said to be `alike`, and their latents differ"
    )
    return _smooth(latents, sigma)


@check(since="0.1")
def rows_belong_to_their_pictures(subject: InversionSubject) -> None:
    """Each row starts from, and is drawn to, its own picture; equal rows stay equal.

    If this fails: spread what belongs to pictures over the rows by `headrouter.sampling.inversion.per_row`.
    """
    run = _Run.of(subject.inversion)
    latents = run.go(list(subject.inversion.sampling_steps(6)))
    expect(latents.shape[0] == 3, f"three rows have become {latents.shape[0]}")
    expect(torch.equal(latents[0], latents[1]), "two rows of one picture with one prompt differ")
    expect(not torch.equal(latents[0], latents[2]), "rows of two pictures are the same")


@check(since="0.1")
def rows_can_be_dropped(subject: InversionSubject) -> None:
    """Dropping a row between steps does not change the others; latents changed from outside, row by row, are taken.

    If this fails: everything that lives from step to step is in `State`, with the rows first; memory may be dropped at any step,
    and rows of one picture are `alike` no longer than nothing changes them apart.
    """
    steps = list(subject.inversion.sampling_steps(6))
    whole, part = _Run.of(subject.inversion), _Run.of(subject.inversion)
    wanted = whole.go(steps)[1:]
    part.go(steps[:3])
    part.state, part.rows = part.state.select([1, 2]), part.rows[1:]
    got = part.go(steps[3:])
    expect(torch.allclose(got, wanted, atol=1e-12), "rows change when another row is dropped after three steps")
    moved = _Run.of(subject.inversion)
    latents = moved.go(steps[:1])
    moved.state = moved.state.with_latents(latents + _noise(3, images=3))
    expect(bool(moved.go(steps[1:]).isfinite().all()), "the run breaks when latents are changed between steps")


@check(since="0.1")
def it_starts_from_noise_without_an_inversion(subject: InversionSubject) -> None:
    """Without an inversion it starts from the noise of the run, so that pictures can be generated.

    If this fails: `initial_state` gives `per_row(inputs.noise("start", 0), rows)` where `inputs.inverted` is None.
    """
    inputs = RunInputs(tuple(_grid(4)), _noise(0), lambda name, step: _noise(1), None)
    nothing = Prompt("", {})
    rows = [Row(nothing, nothing, 1.0, image=image) for image in range(2)]
    state = subject.inversion.initial_state(rows, inputs)
    expect(tuple(state.latents.shape) == (2, 3, 4, 5), f"the first latents are {tuple(state.latents.shape)}")
    expect(all(tensor.shape[0] == 2 for tensor in state.memory), "memory does not have the rows first")


CHECKS = collect(globals())
