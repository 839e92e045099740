"""Provide bases of most inversions: those that invert and sample alike, and those that only sample."""

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar, Literal

from headrouter.attention.rows import Row
from headrouter.errors import IncompatibleError
from headrouter.sampling.inversion import Inversion, RunInputs, State, Velocity, per_row


class TwoWay(Inversion, ABC):
    """Inverts the source prompt without guidance, and samples every row from where that arrived. Subclasses add the two steps."""

    @property
    def inversion_prompt(self) -> Literal["source", "empty"]:
        """Return ``source``."""
        return "source"

    @property
    def inversion_guidance(self) -> float:
        """Return 1, no guidance."""
        return 1.0

    def sampling_guidance(self, row_is_source: bool, guidance: float) -> float:
        """Return the same guidance for all rows."""
        return guidance

    def inversion_steps(self, steps: int) -> range:
        """Return all steps."""
        return range(steps)

    def sampling_steps(self, steps: int) -> range:
        """Return all steps."""
        return range(steps)

    def needs_source(self, step: int, steps: int) -> bool:
        """Return False: no step needs it."""
        return False

    def initial_state(self, rows: Sequence[Row], inputs: RunInputs) -> State:
        """Return the inverted latents, or fresh noise if there was no inversion."""
        start = inputs.noise("start", 0) if inputs.inverted is None else inputs.inverted
        return State(per_row(start, rows))


class OneWay(Inversion, ABC):
    """Starts from the picture's latents and fresh noise; there is no inversion."""

    inverts: ClassVar[bool] = False

    @property
    def seeded(self) -> frozenset[Literal["invert", "sample"]]:
        """Return the sampling phase."""
        return frozenset({"sample"})

    @property
    def inversion_prompt(self) -> Literal["source", "empty"]:
        """Return a value that is never used."""
        return "empty"

    @property
    def inversion_guidance(self) -> float:
        """Return a value that is never used."""
        return 0.0

    def inversion_steps(self, steps: int) -> range:
        """Return no steps."""
        return range(0)

    def invert_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Refuse to invert."""
        raise IncompatibleError(f"{type(self).__name__} has no inversion.")
