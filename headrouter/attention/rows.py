"""Describe the rows of a run, and spread them over the batch of one forward pass by guidance.

A :class:`Row` is one picture on its way through a run: a source, or one of its edits. Guidance may need two evaluations of it, a
conditional and an unconditional one, so a forward pass sees :class:`BatchRow` s, the *branches* of classifier-free guidance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter import renamed
from headrouter.prompts.prompt import Prompt

CfgBranch = Literal["unconditional", "conditional"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Describes one picture on its way through a run.

    Attributes:
        prompt: Its prompt.
        negative: Negative prompt, from which guidance steers away (usually empty).
        guidance: Weight of the prompt against the negative one: 1 evaluates the prompt only, 0 the negative only. A backbone
            with embedded guidance passes the number to the model instead.
        edit: Number of the edit of its picture; None for the source.
        image: Number of the picture of the run that it belongs to.
        references: Latents ``[1, channels, h, w]`` of the pictures that the model is given beside the one that it makes, in
            order; none in most runs. The rows of a run have equally many, of the same sizes.
    """

    prompt: Prompt
    negative: Prompt
    guidance: float
    edit: int | None = None
    image: int = 0
    references: tuple[Float[Tensor, "1 channels h w"], ...] = ()

    @property
    def is_source(self) -> bool:
        """Return whether this is the row that the edits are compared with."""
        return self.edit is None


def way_to_a_source(rows: Sequence[Row]) -> str:
    """Return the next step for a user whose run has no source's row: the words of a refusal, without a full stop.

    >>> way_to_a_source([])
    'Edit a picture'
    """
    if any(row.references for row in rows):
        return "Give `inversion.null_instruction`, which asks for no change; '' will do"
    return "Edit a picture"


@final
@renamed.keywords(half="cfg_branch")
@dataclass(frozen=True, slots=True, eq=False)
class BatchRow:
    """Describes one row of the batch of a forward pass.

    Attributes:
        row: Row of the run that it belongs to.
        cfg_branch: Evaluation of it, with its prompt (conditional) or its negative one (unconditional).
        index: Position of ``row`` among the rows of the run.
        pair: Position in this batch of the source's row of the same branch and picture; None for source rows and where the
            source does not run.
    """

    row: Row
    cfg_branch: CfgBranch
    index: int
    pair: int | None = None

    half = renamed.attribute("half", "cfg_branch")

    @property
    def prompt(self) -> Prompt:
        """Return the prompt that this branch is conditioned on."""
        return self.row.prompt if self.cfg_branch == "conditional" else self.row.negative

    @property
    def is_edit(self) -> bool:
        """Return whether it is the conditional branch of an edit, which steering changes."""
        return self.cfg_branch == "conditional" and not self.row.is_source


def batch_rows(rows: Sequence[Row], *, guided: bool = True) -> tuple[BatchRow, ...]:
    """Return the batch for one evaluation of ``rows``: unconditional branches first, then conditional ones, each in row order.

    Args:
        rows: Rows of the run, sources and edits.
        guided: Whether the backbone applies guidance by two evaluations. If not, each row is one conditional row.
    """
    branches = _branches(rows, guided)
    sources = {
        (rows[index].image, branch): place for place, (index, branch) in enumerate(branches) if rows[index].is_source
    }
    return tuple(
        BatchRow(
            rows[index], branch, index, None if rows[index].is_source else sources.get((rows[index].image, branch))
        )
        for index, branch in branches
    )


def batch_size(rows: Sequence[Row], *, guided: bool = True) -> int:
    """Return the number of rows of :func:`batch_rows`."""
    return len(_branches(rows, guided))


def _branches(rows: Sequence[Row], guided: bool) -> list[tuple[int, CfgBranch]]:
    branches: list[tuple[int, CfgBranch]] = []
    if guided:
        branches += [(index, "unconditional") for index, row in enumerate(rows) if row.guidance != 1]
    branches += [(index, "conditional") for index, row in enumerate(rows) if not guided or row.guidance != 0]
    return branches


def rows_at(tensor: Float[Tensor, "rows *rest"], places: Sequence[int]) -> Float[Tensor, "chosen *rest"]:
    """Return rows of a tensor by their places.

    Indexing by a list would copy its numbers to the tensor's device, and wait there for all that runs.

    >>> rows_at(torch.tensor([[1], [2]]), [1, 1, 0]).tolist(), rows_at(torch.ones(2, 3), []).shape
    ([[2], [2], [1]], torch.Size([0, 3]))
    """
    return torch.stack([tensor[place] for place in places]) if places else tensor[:0]


Combine = Callable[[Float[Tensor, "channels h w"], Float[Tensor, "channels h w"], float], Float[Tensor, "channels h w"]]
"""``combine(unconditional, conditional, guidance)`` gives the guided velocity of one row."""


def classifier_free(
    unconditional: Float[Tensor, "*shape"], conditional: Float[Tensor, "*shape"], guidance: float
) -> Float[Tensor, "*shape"]:
    """Return u + g·(c − u), classifier-free guidance (arXiv:2207.12598, eq. 6 with w = g − 1).

    >>> classifier_free(torch.tensor([1.0]), torch.tensor([2.0]), 3.0)
    tensor([4.])
    """
    return unconditional + guidance * (conditional - unconditional)


Predict = Callable[[Float[Tensor, "batch channels h w"], tuple[BatchRow, ...]], Float[Tensor, "batch channels h w"]]


def guided_velocity(
    predict: Predict,
    latents: Float[Tensor, "rows channels h w"],
    rows: Sequence[Row],
    *,
    guided: bool = True,
    combine: Combine = classifier_free,
    batch: tuple[BatchRow, ...] | None = None,
) -> Float[Tensor, "rows channels h w"]:
    """Return the velocity of each row under its own guidance, from one call of ``predict`` for all branches.

    v = v_unconditional + guidance · (v_conditional − v_unconditional), in float32, or what ``combine`` makes of both. A row of
    guidance 1 has no unconditional branch and one of guidance 0 no conditional branch, so neither is computed, whatever combines.

    Args:
        predict: Gives the velocity of each branch.
        latents, rows: One of each row.
        guided: As of :func:`batch_rows`, which is asked where there is no ``batch``.
        combine: Joins the branches of one row.
        batch: What :func:`batch_rows` gave, where it is known.

    Raises:
        TypeError: ``guided`` is false beside a ``batch``, where it has no effect.

    >>> nothing = Prompt("", {})
    >>> rows = [Row(nothing, nothing, 3.0), Row(nothing, nothing, 1.0, edit=0)]
    >>> branches = lambda x, batch: torch.stack([x[i] + (b.cfg_branch == "conditional") for i, b in enumerate(batch)])
    >>> guided_velocity(branches, torch.zeros(2, 1, 1, 1), rows).flatten().tolist()
    [3.0, 1.0]
    """
    if batch is not None and not guided:
        raise TypeError("`guided` has no effect beside `batch`; give `batch_rows` the one that is meant.")
    batch = batch_rows(rows, guided=guided) if batch is None else batch
    places = [item.index for item in batch]
    output = predict(rows_at(latents, places), batch).float()
    if places == list(range(len(rows))):  # one branch each
        return output
    branches: list[dict[CfgBranch, Tensor]] = [{} for _ in rows]
    for item, velocity in zip(batch, output.unbind(), strict=True):
        branches[item.index][item.cfg_branch] = velocity
    return torch.stack(
        [
            combine(own["unconditional"], own["conditional"], row.guidance)
            if len(own) == 2
            else next(iter(own.values()))
            for row, own in zip(rows, branches, strict=True)
        ]
    )


if not TYPE_CHECKING:
    __getattr__ = renamed.names(__name__, Half="CfgBranch")
