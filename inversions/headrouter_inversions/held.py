"""Hold a source's row on the straight line from its noise to the picture, so that it is the picture itself."""

from abc import ABC
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter.attention.rows import Row
from headrouter.sampling.inversion import Inversion, RunInputs, per_row


class HoldsSource(Inversion, ABC):
    """Moves a source that is held along the line to the picture's latents x_0, of velocity (x − x_0)/σ."""

    @property
    def has_source_velocity(self) -> bool:
        """Return True: a held source has the line's."""
        return True

    def known_velocity(
        self, step: int, latents: Float[Tensor, "rows channels h w"], rows: Sequence[Row], inputs: RunInputs
    ) -> Float[Tensor, "rows channels h w"]:
        """Return (x − x_0)/σ_i."""
        return (latents - per_row(inputs.source, rows)) / inputs.sigmas[step]

    def with_held(
        self,
        drift: Float[Tensor, "rows channels h w"],
        step: int,
        latents: Tensor,
        rows: Sequence[Row],
        inputs: RunInputs,
    ) -> Float[Tensor, "rows channels h w"]:
        """Return the velocities of rows: of sources the line's, of others ``drift``."""
        if not any(row.is_source for row in rows):
            return drift
        line = self.known_velocity(step, latents, rows, inputs)
        return torch.stack([(line if row.is_source else drift)[place] for place, row in enumerate(rows)])
