"""Choose the heads that inject: all, listed ones, or those that react most or least to the edit at hand."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, final

import torch
from jaxtyping import Int
from pydantic import BeforeValidator, Field, StrictFloat, StrictInt
from torch import Tensor
from torch.nn import functional

from headrouter.attention import kernels
from headrouter.attention.joint_attention import JointAttention
from headrouter.config.ranking import ranking_of
from headrouter.config.step_or_fraction import step_of
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.methods.heads import Heads, heads_by_block, reaction
from headrouter.methods.method import RunContext
from headrouter.methods.step_means import StepMeans

Reacting = Literal["most-reactive", "least-reactive"]
_NAMES: Final = ("all", "most-reactive", "least-reactive")


def _listed(value: Any) -> Any:
    if isinstance(value, str) and value in _NAMES:
        return value
    try:
        found = ranking_of(value, "heads", "pairs [block, head]")
    except HeadRouterError as error:
        raise ValueError(f"none of {', '.join(_NAMES)}, nor a file with a ranking: {error}") from error
    if not isinstance(found, list | tuple) or not all(isinstance(one, list | tuple) and len(one) == 2 for one in found):
        raise ValueError(
            f"must be {', '.join(_NAMES)}, a list of pairs [block, head], or a JSON file with one under `heads`"
        )
    return found


HeadChoice = Annotated[Literal["all"] | Reacting | Heads, BeforeValidator(_listed)]
"""All heads, those that react most or least to the edit, or pairs [block, head]; or a JSON file that has these under ``heads``."""

CountOrFraction = Annotated[StrictInt, Field(ge=1)] | Annotated[StrictFloat, Field(gt=0.0, le=1.0)]
"""An int is a number of heads, a float in (0, 1] a fraction of them."""


def refuse_idle_choice(heads: HeadChoice, top: int | float | None) -> None:
    """Refuse a choice that says too little, or more than has an effect.

    Raises:
        ValueError: naming the parameter.
    """
    if not heads:
        raise ValueError("`heads` names no head, so nothing would be replaced; leave the method out, or use `tau` 0")
    if heads == "all" and top is not None:
        raise ValueError(
            f"`top` {top} has no effect with `heads` 'all'; choose 'most-reactive', 'least-reactive' or a ranking"
        )
    if isinstance(heads, str) and heads != "all" and top is None:
        raise ValueError(
            f"`heads` {heads!r} needs `top`, how many heads of each block: a number, or a fraction such as 0.33"
        )
    if isinstance(heads, tuple) and isinstance(top, int) and top > len(heads):
        raise ValueError(f"`top` must be at most {len(heads)}, the listed heads, got {top}")


@final
class InjectingHeads:
    """Says which heads inject, in each row of each attention of a run."""

    def __init__(self, heads: HeadChoice, top: int | float | None, context: RunContext):
        """Choose for a run.

        Raises:
            InvalidInputError: a head that the model does not have, or more heads than a block has.
        """
        self._heads, self._top, self._means = heads, top, StepMeans(context)
        self._most = max(site.heads for site in context.sites)
        self._listed: dict[int, list[int]] | None = None
        if isinstance(heads, tuple):
            self._listed = heads_by_block(
                heads[: len(heads) if top is None else _count(top, len(heads))], context.sites
            )
        elif isinstance(top, int) and top > (least := min(site.heads for site in context.sites)):
            raise InvalidInputError(f"`method.top` must be at most {least}, the heads of a block, got {top}.")

    @property
    def blocks(self) -> Sequence[int] | None:
        """Return the blocks of the listed heads; None if the choice does not name blocks."""
        return None if self._listed is None else sorted(self._listed)

    def of(self, event: JointAttention, places: Sequence[int]) -> Mapping[int, Int[Tensor, "chosen"] | None]:
        """Return the heads that inject into the rows at ``places``, which have a source; None stands for all.

        Both branches of an edit take the heads that react in the conditional one, where they run together.
        """
        if self._listed is not None:
            chosen = kernels.indices(tuple(self._listed[event.site.index]), event.query.device)
            return dict.fromkeys(places, chosen)
        if self._heads == "all":
            return dict.fromkeys(places)
        rows = {
            item.row: place for place, item in enumerate(event.rows) if item.pair is not None
        }  # conditional ones come last
        output = event.original().attend()
        reacting = {row: self._reacting(event, output, place) for row, place in rows.items()}
        return {place: reacting[event.rows[place].row] for place in places}

    def _reacting(self, event: JointAttention, output: Tensor, place: int) -> Int[Tensor, "chosen"]:
        assert self._top is not None
        order = reaction(event, output, place).argsort(descending=True, stable=True)
        count = _count(self._top, len(order))
        chosen = order[:count] if self._heads == "most-reactive" else order[len(order) - count :]
        if event.site.stream != "image":
            found = torch.zeros_like(order, dtype=torch.float32).index_fill_(0, chosen, 1)
            padded = functional.pad(found, (0, self._most - len(order)), value=torch.nan)
            self._means.add("injecting_heads", event, event.rows[place].row, padded)
        return chosen

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``injecting_heads`` [edit, step, layer, head], 1 where a head injected, of heads that were chosen by the edit."""
        return self._means.means()


def _count(top: int | float, count: int) -> int:
    """Return the number of heads that ``top`` means of ``count``, at least one."""
    return max(1, step_of(top, count))
