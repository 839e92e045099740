"""Hold the edits of a batch, and join those of runs one after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from headrouter.attention.rows import rows_at
from headrouter.sampling.cost import Cost
from headrouter.sampling.engine import Sampled

Latents = Float[Tensor, "images channels h w"]
StartLatents = Float[Tensor, "images *kept"]
"""What an inversion keeps, see :attr:`headrouter.sampling.inversion.RunInputs.inverted`."""


@final
@dataclass(frozen=True, eq=False)
class Edited:
    """Holds the edits of a batch: by picture, of a picture by prompt, of a prompt by seed.

    Attributes:
        latents: Of each edit.
        diagnostics: Of each method, in their order; each tensor has the edits first.
        sources: Latents of the sources' rows that were kept to the end, by seed and picture; with ``strength="auto"`` those beside
            the strongest edits.
        inverted: For each seed, the latents that its edits started from; empty without inversion.
        cost: Cost of sampling, and of the inversion if it was made for these edits.
        masks: Of the edit's mask, see :class:`~headrouter.sampling.engine.Sampled`; each tensor has the edits first.
        strengths: With ``strength="auto"`` the parameter and value that was chosen for each edit, ``last_steps=0.5``.
        tried: With ``strength="auto"`` the latents of all edits at each strength, from the weakest to the strongest.
    """

    latents: Float[Tensor, "edits channels h w"]
    diagnostics: tuple[Mapping[str, Tensor], ...]
    sources: Float[Tensor, "rows channels h w"]
    inverted: Sequence[StartLatents]
    cost: Cost
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    strengths: tuple[str, ...] = ()
    tried: tuple[Float[Tensor, "edits channels h w"], ...] = ()

    @classmethod
    def of_runs(cls, runs: Sequence[Sampled], seeds: int, starts: Sequence[StartLatents], cost: Cost) -> Self:
        """Return the edits of runs one after the other: of all groups with the first seed, then with the second.

        Args:
            runs: Of at least one group.
            seeds: Number of seeds.
            starts: Inverted latents by seed.
            cost: Of making them.
        """
        every, latents = [row for run in runs for row in run.rows], torch.cat([run.latents for run in runs])
        places = [place for place, row in enumerate(every) if not row.is_source]
        edits = len(places) // seeds
        order = [seed * edits + edit for edit in range(edits) for seed in range(seeds)]  # they ran seed by seed
        return cls(
            rows_at(latents, [places[one] for one in order]),
            tuple(joined(parts, order) for parts in zip(*(run.diagnostics for run in runs), strict=True)),
            rows_at(latents, [place for place, row in enumerate(every) if row.is_source]),
            starts,
            sum((run.cost for run in runs), cost),
            joined([run.masks for run in runs], order),
        )


def joined(parts: Sequence[Mapping[str, Tensor]], order: Sequence[int]) -> Mapping[str, Tensor]:
    """Join the diagnostics of one method in runs one after the other, and put the edits into an order."""
    if len(parts) == 1:
        return parts[0]
    names = sorted({name for part in parts for name in part})
    return {name: _concatenated([part[name] for part in parts if name in part])[list(order)] for name in names}


def _concatenated(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenate along the edits; text maps of prompts of different lengths are padded with zeros."""
    longest = max(tensor.shape[1] for tensor in tensors)
    shapes = [(tensor.shape[0], longest - tensor.shape[1], *tensor.shape[2:]) for tensor in tensors]
    padding = [tensor.new_zeros(shape) for tensor, shape in zip(tensors, shapes, strict=True)]
    return torch.cat([torch.cat(pair, dim=1) for pair in zip(tensors, padding, strict=True)])
