"""Compute blocks of attention probabilities, of image queries and text keys, once for all methods that look at an event.

Shape suffixes: P rows, H heads, N image queries, K text keys.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from headrouter.attention import kernels

if TYPE_CHECKING:
    from headrouter.attention.joint_attention import JointAttention

Positions = tuple[int, ...]
Block = Float[Tensor, "p h n k"]


@final
class TextToImage:
    """Holds the probabilities of one event as long as its query and key stay the same tensors."""

    def __init__(self, expected: Mapping[int, Positions] | None = None):
        """Begin with the text keys that methods are ``expected`` to ask for, by place in the batch."""
        self.expected: dict[int, Positions] = dict(expected or {})
        self._of: tuple[Tensor, Tensor] | None = None
        self._blocks: dict[tuple[Positions, tuple[Positions, ...]], Block] = {}
        self._log_sum_exp: dict[int, Tensor] = {}

    def expect(self, positions: Mapping[int, Sequence[int]]) -> None:
        """Count on these text keys being asked for, beside those that were announced before."""
        for place, more in positions.items():
            self.expected[place] = tuple(sorted({*self.expected.get(place, ()), *more}))

    def blocks(
        self, event: "JointAttention", places: Positions, positions: tuple[Positions, ...]
    ) -> Iterator[tuple[slice, Block]]:
        """Yield ``(heads, block)``: all heads at once, and then kept, unless the block would be too large to hold."""
        if self._of is None or self._of[0] is not event.query or self._of[1] is not event.key:
            self._of = (event.query, event.key)
            self._blocks.clear()
            self._log_sum_exp.clear()
        heads, chunk = event.query.shape[1], _heads_at_a_time(event, positions)
        if chunk < heads:
            for start in range(0, heads, chunk):
                chosen = slice(start, min(start + chunk, heads))
                yield chosen, self._computed(event, places, positions, chosen)
            return
        if (places, positions) not in self._blocks:
            self._blocks[places, positions] = self._shared(event, places, positions)
        yield slice(0, heads), self._blocks[places, positions]

    def _shared(self, event: "JointAttention", places: Positions, positions: tuple[Positions, ...]) -> Block:
        """Return a part of the block of all that is expected, or a block of its own where more is asked for."""
        everyone = tuple(sorted(self.expected))
        union = tuple(self.expected[place] for place in everyone)
        every_head = slice(0, event.query.shape[1])
        known = all(
            place in self.expected and set(own) <= set(self.expected[place])
            for place, own in zip(places, positions, strict=True)
        )
        if not known or _heads_at_a_time(event, union) < event.query.shape[1]:
            return self._computed(event, places, positions, every_head)
        if (everyone, union) not in self._blocks:
            self._blocks[everyone, union] = self._computed(event, everyone, union, every_head)
        whole, first = self._blocks[everyone, union], everyone.index(places[0])
        part = slice(first, first + len(places))
        if (everyone[part], union[part]) == (places, positions):
            return whole[part, ..., : max(map(len, positions))]
        parts = []
        for place, own in zip(places, positions, strict=True):
            column = {position: number for number, position in enumerate(self.expected[place])}
            chosen = kernels.indices(tuple(column[position] for position in own), whole.device)
            parts.append(whole[everyone.index(place)].index_select(-1, chosen))
        return _joined(parts)

    def _computed(
        self, event: "JointAttention", places: Positions, positions: tuple[Positions, ...], heads: slice
    ) -> Block:
        return _joined([self._row(event, place, own, heads) for place, own in zip(places, positions, strict=True)])

    def _row(self, event: "JointAttention", place: int, positions: Positions, heads: slice) -> Float[Tensor, "h n k"]:
        image = event.layout.image
        if not positions:
            return event.query.new_empty(heads.stop - heads.start, image.stop - image.start, 0, dtype=torch.float32)
        if place not in self._log_sum_exp:
            self._log_sum_exp[place] = event.log_sum_exp_of(place, image)
        start = event.layout.text.start
        keys = kernels.taking(
            tuple(position + start for position in positions) if start else positions, event.key.device
        )
        query, key = event.overrides.queries_and_keys(event.query, event.key, place, image)
        return kernels.probabilities(
            query[:, heads],
            key[:, heads][:, :, keys],
            self._log_sum_exp[place][:, heads],
            event.scale,
            kernels.select_bias(event.bias, place, heads, image, keys),
        )[0]


def _heads_at_a_time(event: "JointAttention", positions: tuple[Positions, ...]) -> int:
    tokens, width = event.layout.grid[0] * event.layout.grid[1], max(map(len, positions), default=0)
    return max(1, kernels.CHUNK_ELEMENTS // max(1, tokens * width * len(positions)))


def _joined(parts: list[Float[Tensor, "h n k"]]) -> Block:
    """Return blocks of rows as one, 0 in what a row has less."""
    if len(parts) == 1:
        return parts[0][None]
    width = max(part.shape[-1] for part in parts)
    return torch.stack([functional.pad(part, (0, width - part.shape[-1])) for part in parts])
