"""Edit by an instruction: make a new picture from noise, with the picture itself given to the model as a reference.

Instruction models (FLUX.1 Kontext, Qwen-Image-Edit, FLUX.2) are trained on an instruction and the tokens of a picture in their
sequence. Nothing of the picture is in the latents: x starts as noise ε, and every row steps x ← x + (σ_{i+1} − σ_i)·v(x, σ_i).

A source's row that is held steps along (x − x_0)/σ instead: it is the line from ε to the picture's latents x_0.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

from pydantic import Field, model_validator
from typing_extensions import Self

from headrouter.attention.rows import Row
from headrouter.sampling.directions import OneWay
from headrouter.sampling.inversion import RunInputs, State, Velocity, per_row
from headrouter_inversions.held import HoldsSource


@final
class Instruct(HoldsSource, OneWay):
    """Steps by Euler's method from noise, in N model calls: the stock pipeline of an instruction model.

    A source's row, where a method compares edits with one, is the same picture, from the same noise, under the null instruction.
    Held, it is the line from that noise ε to the picture's latents x_0 instead, of velocity (x − x_0)/σ.
    """

    takes_references: ClassVar[bool] = True
    default_method: ClassVar[str] = "none"

    null_instruction: str | None = Field(
        "",
        max_length=100_000,
        description="Instruction of the source's row, which asks for no change: empty, or in words. Without one (null) there is no "
        "such row, and methods that compare with it are refused.",
    )
    hold_source: bool = Field(
        False,
        description="Keep the source's row on the line from its noise to the picture, so that it is the picture itself and not "
        "what the null instruction makes of it.",
    )

    @model_validator(mode="after")
    def _a_held_source_has_a_row(self) -> Self:
        if self.hold_source and self.null_instruction is None:
            raise ValueError(
                "`hold_source` keeps the source's row, and without `null_instruction` there is none; give both"
            )
        return self

    @property
    def requires(self) -> frozenset[str]:
        """Require that the model takes reference pictures."""
        return frozenset({"reference-pictures"})

    def source_row_prompt(self, source_prompt: str) -> str | None:
        """Return the null instruction."""
        return self.null_instruction

    @property
    def source_is_known(self) -> bool:
        """Return whether the source is held."""
        return self.hold_source

    @property
    def keeps_source_by(self) -> Mapping[str, Any]:
        """Return ``hold_source``, unless the row is held or there is none."""
        return {} if self.hold_source or self.null_instruction is None else {"hold_source": True}

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
        """Step x ← x + (σ_{i+1} − σ_i)·v(x, σ_i), a held source along the line to the picture."""
        current, following = inputs.sigmas[step], inputs.sigmas[step + 1]
        drift = velocity(state.latents, current, rows)
        if self.hold_source:
            drift = self.with_held(drift, step, state.latents, rows, inputs)
        return State(state.latents + (following - current) * drift)
