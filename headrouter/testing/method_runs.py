"""Run methods briefly on the toy model, for checks."""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.methods.method import Method
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.directions import TwoWay
from headrouter.sampling.engine import Engine, Sampled
from headrouter.sampling.inversion import RunInputs, State, Velocity
from headrouter.sampling.noise import Noise
from headrouter.testing.toy import ToyMMDiT

STEPS = 4
SIZE = (24, 16)


@final
class _Plain(TwoWay):
    """Samples by Euler's method from noise, all rows or, where ``known`` is given, edits: sources stay where they are."""

    known: bool | None = None
    """Whether the engine may leave sources out."""

    @property
    def source_is_known(self) -> bool:
        return self.known is True

    def inversion_steps(self, steps: int) -> range:
        return range(0)

    def invert_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        return state

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        current, following = inputs.sigmas[step], inputs.sigmas[step + 1]
        change = (following - current) * velocity(state.latents, current, rows)
        stays = [self.known is not None and row.is_source for row in rows]
        return State(
            torch.stack([x if still else x + d for x, d, still in zip(state.latents, change, stays, strict=True)])
        )


def references_for(method: Method, image: int = 0) -> tuple[Tensor, ...]:
    """Return latents of a reference picture where a method needs one, others for each picture."""
    if "reference-pictures" not in method.requires:
        return ()
    return (Noise([image], ToyMMDiT().latent_shape(24, 16), torch.device("cpu"))("reference", 0),)


def method_rows(
    toy: ToyMMDiT, *prompts: str, image: int = 0, guidance: float = 3.0, references: tuple[Tensor, ...] = ()
) -> list[Row]:
    """Return a source, and edits after it, of the picture of this number."""
    texts: list[Prompt] = toy.encode_prompts([*prompts, ""])
    *prompted, nothing = texts
    return [
        Row(text, nothing, guidance, None if index == 0 else index - 1, image, references)
        for index, text in enumerate(prompted)
    ]


def sample(
    toy: ToyMMDiT,
    methods: Sequence[Method],
    rows: Sequence[Row],
    seeds: Sequence[int],
    known: bool | None = None,
    **asked: Any,
) -> Sampled:
    """Sample rows from noise by these methods; one seed for each picture.

    Where ``known`` is given sources stay where they are; where it is True the engine may leave them out of model calls.
    """
    noise = Noise(seeds, toy.latent_shape(*SIZE), toy.device)
    inputs = RunInputs(tuple(toy.sigmas(STEPS, *SIZE).tolist()), noise("y0", 0), noise, size=SIZE)
    return Engine(toy).sample(_Plain(known=known), methods, rows, inputs, **asked)


def edited(
    toy: ToyMMDiT,
    *methods: Method,
    prompts: Sequence[str] = ("a cat", "a dog"),
    references: tuple[Tensor, ...] = (),
    **asked: Any,
) -> Sampled:
    """Edit one picture by these methods."""
    return sample(toy, methods, method_rows(toy, *prompts, references=references), [1], **asked)
