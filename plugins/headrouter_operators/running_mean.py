"""Average the velocities of the steps so far, each by the length of its step."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from headrouter.attention.rows import Row


@final
class RunningMeans:
    """Keeps v̄_k = Σ_{i≤k} |Δσ_i|·v_i / Σ_{i≤k} |Δσ_i| for each row and stage of a run."""

    def __init__(self) -> None:
        """Begin with no velocity."""
        self._sums: dict[tuple[Row, int], tuple[Tensor, float]] = {}

    def add(
        self, row: Row, stage: int, velocity: Float[Tensor, "channels h w"], interval: float
    ) -> Float[Tensor, "channels h w"]:
        """Take in the velocity of a step, and return the mean with it."""
        total, length = self._sums.get((row, stage), (0.0, 0.0))
        total, length = total + abs(interval) * velocity, length + abs(interval)
        self._sums[row, stage] = total, length
        return total / length
