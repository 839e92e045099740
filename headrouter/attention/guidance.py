"""Combine the two branches of guidance, for models that do not use plain classifier-free guidance.

Each takes velocities under the negative prompt (u) and the prompt (c) of one row and the guidance g. A backbone chooses one by
overriding :meth:`headrouter.models.backbone.Backbone.combine`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter.attention.rows import classifier_free


def rescaled(
    unconditional: Float[Tensor, "*shape"],
    conditional: Float[Tensor, "*shape"],
    guidance: float,
    *,
    axes: int | tuple[int, ...] | None = None,
    shrink_only: bool = False,
) -> Float[Tensor, "*shape"]:
    """Return guided = u + g·(c − u), rescaled to the norm of the conditional branch: guided · ‖c‖ / ‖guided‖.

    Args:
        unconditional: u.
        conditional: c.
        guidance: g.
        axes: Over which axes a norm is taken; over all of them if None.
        shrink_only: Whether to leave velocities alone that are not longer than c.

    >>> rescaled(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0]), 3.0)
    tensor([1.3416, 0.4472])
    """
    guided = classifier_free(unconditional, conditional, guidance)
    ratio = _norm(conditional, axes) / _norm(guided, axes)
    return guided * (ratio.clamp(max=1) if shrink_only else ratio)


def projected(
    unconditional: Float[Tensor, "*shape"],
    conditional: Float[Tensor, "*shape"],
    guidance: float,
    *,
    parallel: float = 0.0,
    longest: float | None = None,
) -> Float[Tensor, "*shape"]:
    """Return c + (g − 1)·(d⊥ + η·d∥) for d = c − u split along c (arXiv:2410.02416, without momentum).

    Args:
        unconditional: u.
        conditional: c.
        guidance: g.
        parallel: η, the share of d∥ that is kept; 1 is classifier-free guidance.
        longest: r: d is shortened to this norm where it is longer.

    >>> projected(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]), 2.0)
    tensor([ 1., -1.])
    """
    difference = conditional - unconditional
    if longest is not None:
        difference = difference * (longest / _norm(difference, None)).clamp(max=1)
    along = conditional * ((difference * conditional).sum() / conditional.square().sum())
    return conditional + (guidance - 1) * (difference - along + parallel * along)


def _norm(tensor: Tensor, axes: int | tuple[int, ...] | None) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(tensor, dim=axes, keepdim=True)
    return norm.clamp(min=torch.finfo(torch.float32).tiny)
