"""Represent, as a value, logits that a row takes from another row, and compute attention with them.

Nothing of S×S is held: (q_e, q_r)·(k_e, 0) = q_e·k_e and (q_e, q_r)·(0, k_r) = q_r·k_r, so queries and keys of twice the
channels have the wanted products, and the fused kernels need not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headrouter.attention import kernels

Heads = Float[Tensor, "rows heads tokens channels"]


@final
@dataclass(frozen=True, slots=True)
class LogitOverride:
    """Replaces the logits of one row's ``queries`` at these ``keys`` by those of the row ``source``; in ``heads``, or all."""

    source: int
    queries: slice
    keys: tuple[slice, ...]
    heads: Int[Tensor, "chosen"] | None = field(default=None, repr=False, compare=False)

    @property
    def chosen(self) -> "slice | Tensor":
        """Return the index of the heads."""
        return slice(None) if self.heads is None else self.heads


@final
@dataclass(frozen=True)
class LogitOverrides:
    """Collects the overrides of one attention event; empty at first.

    >>> taken = LogitOverrides().taking(1, 0, slice(0, 4), slice(4, 6))
    >>> taken.of(1, slice(0, 4))
    LogitOverride(source=0, queries=slice(0, 4, None), keys=(slice(4, 6, None),))
    >>> bool(taken), bool(LogitOverrides()), taken.of(0, slice(0, 4))
    (True, False, None)
    """

    _by_place: Mapping[tuple[int, int, int], LogitOverride] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return whether any logit is overridden."""
        return bool(self._by_place)

    def taking(
        self, row: int, source: int, queries: slice, keys: slice, heads: Int[Tensor, "chosen"] | None = None
    ) -> "LogitOverrides":
        """Return these and one more: the logits of ``queries`` and ``keys`` of ``row`` are those of the row ``source``.

        The softmax runs over all keys as ever; values, and the model's mask, are the row's own.

        Args:
            row, source: Places in the batch; a row's queries take from one source.
            queries, keys: Parts of the layout: its ``text``, ``image`` or ``registers``.
            heads: Heads whose logits are taken, the same for all that a row's queries take; all if not given.
        """
        place = (row, queries.start, queries.stop)
        before = self._by_place.get(place, LogitOverride(source, queries, (), heads))
        assert before.source == source, f"row {row} takes from row {before.source} already"
        assert before.heads is heads, f"row {row} takes in other heads already"
        return LogitOverrides({**self._by_place, place: replace(before, keys=(*before.keys, keys))})

    def of(self, row: int, queries: slice) -> LogitOverride | None:
        """Return the override of these queries of a row, None if their logits are their own."""
        return self._by_place.get((row, queries.start, queries.stop))

    def queries_and_keys(self, query: Heads, key: Heads, row: int, queries: slice) -> tuple[Tensor, Tensor]:
        """Return a part's queries and the whole sequence's keys whose products are the logits of one row.

        [1, heads, queries, channels] and [1, heads, tokens, channels], of twice the channels where logits are overridden.
        """
        override = self.of(row, queries)
        if override is None:
            return query[row : row + 1, :, queries], key[row : row + 1]
        own, others, heads = key[row].clone(), torch.zeros_like(key[row]), override.chosen
        for keys in override.keys:
            others[heads, keys] = key[override.source, heads, keys]
            own[heads, keys] = 0
        joined = torch.cat([query[place, :, queries] for place in (row, override.source)], dim=-1)
        return joined[None], torch.cat([own, others], dim=-1)[None]

    def attended(
        self, output: Heads, query: Heads, key: Heads, value: Heads, scale: float, bias: Tensor | None
    ) -> Heads:
        """Return attention's ``output`` with what the overridden queries give instead."""
        output = output.clone() if self else output
        for (row, *_), override in self._by_place.items():
            bias_of_heads, query_and_key = self._operands(query, key, bias, row, override)
            found = kernels.attend_chunked(*query_and_key, value[row : row + 1, override.chosen], scale, bias_of_heads)
            output[row, override.chosen, override.queries] = found[0]
        return output

    def log_sum_exp(
        self,
        log_sum_exp: Float[Tensor, "rows heads tokens"],
        query: Heads,
        key: Heads,
        scale: float,
        bias: Tensor | None,
    ) -> Float[Tensor, "rows heads tokens"]:
        """Return the ``log_sum_exp`` of each query's logits with that of the overridden ones."""
        log_sum_exp = log_sum_exp.clone() if self else log_sum_exp
        for (row, *_), override in self._by_place.items():
            bias_of_heads, query_and_key = self._operands(query, key, bias, row, override)
            found = kernels.log_sum_exp_chunked(*query_and_key, scale, bias_of_heads)
            log_sum_exp[row, override.chosen, override.queries] = found[0]
        return log_sum_exp

    def _operands(
        self, query: Heads, key: Heads, bias: Tensor | None, row: int, override: LogitOverride
    ) -> tuple[Tensor | None, tuple[Tensor, Tensor]]:
        """Return the bias, and queries and keys, of the heads of an override."""
        own_query, own_key = self.queries_and_keys(query, key, row, override.queries)
        chosen = kernels.select_bias(bias, row, override.chosen, override.queries, slice(None))
        return chosen, (own_query[:, override.chosen], own_key[:, override.chosen])
