"""Optimise by Muon where a weight is a matrix between hidden units, by AdamW for the rest."""

import copy
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import torch
from torch import nn

_SHARES: Final = 4
"""Parts of about equal cost that Muon's matrices are cut into; threads take the next as they get done."""


class Optimiser:
    """Combines Muon (orthogonalised momentum) for hidden matrices and AdamW for all else.

    A convolution's kernel counts as the matrix [out, in · height · width]. Only weights whose name passes
    ``is_hidden`` go to Muon: embeddings, first and last layers, gains and biases learn better with AdamW.

    Muon's matrices are its own: each step copies the weights in and back out, so that weights whose storage was replaced
    between steps (a conversion, a move to another device) are trained all the same.

    Args:
        parameters: names and weights to train.
        is_hidden: whether a weight of this name may go to Muon.
        muon_rate: learning rate of Muon before the schedule.
        adam_rate: learning rate of AdamW before the schedule.
        workers: CPU threads that share Muon's matrices; the result does not depend on it.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        is_hidden: Callable[[str], bool],
        *,
        muon_rate: float = 0.01,
        adam_rate: float = 1e-3,
        workers: int = 1,
    ) -> None:
        named = list(parameters)
        hidden = [weight for name, weight in named if weight.ndim >= 2 and is_hidden(name)]
        taken = {id(weight) for weight in hidden}
        self.rest = [weight for _, weight in named if id(weight) not in taken]
        self.hidden = hidden
        self._matrices = [nn.Parameter(weight.detach().flatten(1).clone()) for weight in hidden]
        self.rates = (muon_rate, adam_rate)
        costly_first = sorted(self._matrices, key=lambda matrix: -matrix.numel() * min(matrix.shape))
        shares = [share for share in (costly_first[first::_SHARES] for first in range(_SHARES)) if share]
        self.muons = [torch.optim.Muon(share, lr=muon_rate, weight_decay=0.01) for share in shares]
        self.pool = ThreadPoolExecutor(workers)
        self.adam = torch.optim.AdamW(self.rest, lr=adam_rate, betas=(0.9, 0.98), weight_decay=0.0)

    def step(self, scale: float, clip: float = 1.0) -> float:
        """Clip the gradients to a norm of ``clip``, move by ``scale`` times the learning rates, forget the gradients.

        Returns:
            The norm of the gradients before clipping.
        """
        norm = torch.nn.utils.clip_grad_norm_([*self.hidden, *self.rest], clip)
        pairs = list(zip(self._matrices, self.hidden, strict=True))
        for matrix, weight in pairs:
            matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
            matrix.detach().copy_(weight.detach().flatten(1))
        for optimiser in (*self.muons, self.adam):
            for group in optimiser.param_groups:
                group["lr"] = self.rates[optimiser is self.adam] * scale
        list(self.pool.map(lambda optimiser: optimiser.step(), (*self.muons, self.adam)))
        for matrix, weight in pairs:
            weight.detach().copy_(matrix.detach().view_as(weight))
        for weight in (*self.hidden, *self.rest):
            weight.grad = None
        return float(norm)

    def state_dict(self) -> dict[str, Any]:
        """Return the momenta of both parts."""
        return {"muon": [muon.state_dict() for muon in self.muons], "adam": self.adam.state_dict()}

    def layout(self) -> dict[str, Any]:
        """Return the form of :meth:`state_dict` after a step that moved every weight."""

        def one(optimiser: torch.optim.Optimizer, momenta: tuple[str, ...], also: dict[str, Any]) -> dict[str, Any]:
            weights = optimiser.param_groups[0]["params"]
            state = {number: {**dict.fromkeys(momenta, weight), **also} for number, weight in enumerate(weights)}
            return {"state": state, "param_groups": [{"params": list(range(len(weights)))}]}

        counted = {"step": torch.zeros((), dtype=torch.float32, device="cpu")}
        return {
            "muon": [one(muon, ("momentum_buffer",), {}) for muon in self.muons],
            "adam": one(self.adam, ("exp_avg", "exp_avg_sq"), counted),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the momenta of both parts; copies, so that ``state`` stays as it is and may be loaded elsewhere too."""
        state = copy.deepcopy(state)
        for muon, kept in zip(self.muons, state["muon"], strict=True):
            muon.load_state_dict(kept)
        self.adam.load_state_dict(state["adam"])


def cosine(step: int, steps: int) -> float:
    """Return the scale of the learning rate: a rise in a hundred steps, then a cosine to zero.

    >>> [round(cosine(step, 4000), 3) for step in (0, 100, 2000, 3999)]
    [0.01, 0.998, 0.5, 0.0]
    """
    warm_up = min(100, max(1, steps // 20))
    return 0.5 * (1.0 + math.cos(math.pi * step / steps)) * min(1.0, (step + 1) / warm_up)
