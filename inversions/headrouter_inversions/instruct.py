"""Edit by an instruction: make a new picture from noise, with the picture itself given to the model as a reference.

Instruction models (FLUX.1 Kontext, Qwen-Image-Edit, FLUX.2) are trained on an instruction and the tokens of a picture in their
sequence. Nothing of the picture is in the latents: x starts as noise ε, and every row steps x ← x + (σ_{i+1} − σ_i)·v(x, σ_i).
"""

from collections.abc import Sequence
from typing import ClassVar, final

from pydantic import Field

from headrouter.attention.rows import Row
from headrouter.sampling.directions import OneWay
from headrouter.sampling.inversion import RunInputs, State, Velocity, per_row


@final
class Instruct(OneWay):
    """Steps by Euler's method from noise, in N model calls: the stock pipeline of an instruction model.

    A source's row, where a method compares edits with one, is the same picture, from the same noise, under the null instruction.
    """

    takes_references: ClassVar[bool] = True

    null_instruction: str | None = Field(
        "",
        max_length=100_000,
        description="Instruction of the source's row, which asks for no change: empty, or in words. Without one (null) there is no "
        "such row, and methods that compare with it are refused.",
    )

    @property
    def requires(self) -> frozenset[str]:
        """Require that the model takes reference pictures."""
        return frozenset({"reference-pictures"})

    def source_row_prompt(self, source_prompt: str) -> str | None:
        """Return the null instruction."""
        return self.null_instruction

    def sampling_guidance(self, row_is_source: bool, guidance: float) -> float:
        """Return the same guidance for all rows."""
        return guidance

    def sampling_steps(self, steps: int) -> range:
        """Return all steps."""
        return range(steps)

    def needs_source(self, step: int, steps: int) -> bool:
        """Return False: no step needs it."""
        return False

    def initial_state(self, rows: Sequence[Row], inputs: RunInputs) -> State:
        """Return noise, shared by the rows of a picture."""
        return State(per_row(inputs.noise("start", 0), rows))

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step x ← x + (σ_{i+1} − σ_i)·v(x, σ_i)."""
        current, following = inputs.sigmas[step], inputs.sigmas[step + 1]
        return State(state.latents + (following - current) * velocity(state.latents, current, rows))
