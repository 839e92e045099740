"""Follow a known picture instead of the model, to record the model's attention at each noise level."""

from collections.abc import Sequence
from typing import final

from headrouter.attention.rows import Row
from headrouter.sampling.directions import OneWay
from headrouter.sampling.inversion import RunInputs, State, Velocity, per_row


@final
class Noised(OneWay):
    """Evaluates the model at x = (1 − σ_i)·x_0 + σ_i·ε, with one ε, and ignores its velocity. Ends at x_0."""

    def sampling_guidance(self, row_is_source: bool, guidance: float) -> float:
        """Return the guidance that is asked for, which has no effect on the path."""
        return guidance

    def sampling_steps(self, steps: int) -> range:
        """Return all."""
        return range(steps)

    def needs_source(self, step: int, steps: int) -> bool:
        """Return False."""
        return False

    def initial_state(self, rows: Sequence[Row], inputs: RunInputs) -> State:
        """Return the picture at the first noise level."""
        return _at(inputs.sigmas[0], rows, inputs)

    def sample_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Show the picture to the model, and go on to the next noise level."""
        velocity(state.latents, inputs.sigmas[step], rows)
        return _at(inputs.sigmas[step + 1], rows, inputs)


def _at(sigma: float, rows: Sequence[Row], inputs: RunInputs) -> State:
    return State(per_row((1 - sigma) * inputs.source + sigma * inputs.noise("start", 0), rows))
