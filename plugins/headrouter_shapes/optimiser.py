"""The optimiser of all trainings: Muon where a weight is a matrix between hidden units, AdamW for the rest."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


class Optimiser:
    """Muon (orthogonalised momentum) for hidden matrices and AdamW for everything else, as one object.

    A convolution's kernel counts as the matrix [out, in · height · width]. Only weights whose name passes
    ``is_hidden`` go to Muon: embeddings, first and last layers, gains and biases learn better with AdamW.

    Args:
        parameters: names and weights to train.
        is_hidden: whether a weight of this name may go to Muon.
        muon_rate: learning rate of Muon before the schedule.
        adam_rate: learning rate of AdamW before the schedule.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        is_hidden: Callable[[str], bool],
        *,
        muon_rate: float = 0.01,
        adam_rate: float = 1e-3,
    ) -> None:
        named = list(parameters)
        hidden = [weight for name, weight in named if weight.ndim >= 2 and is_hidden(name)]
        taken = {id(weight) for weight in hidden}
        self.rest = [weight for _, weight in named if id(weight) not in taken]
        self.hidden = hidden
        self._matrices = [nn.Parameter(weight.detach().flatten(1)) for weight in hidden]
        self.rates = (muon_rate, adam_rate)
        self.muon = torch.optim.Muon(self._matrices, lr=muon_rate, weight_decay=0.01)
        self.adam = torch.optim.AdamW(self.rest, lr=adam_rate, betas=(0.9, 0.98), weight_decay=0.0)

    def step(self, scale: float, clip: float = 1.0) -> float:
        """Clip the gradients to a norm of ``clip``, move by ``scale`` times the learning rates, forget the gradients.

        Returns:
            The norm of the gradients before clipping.
        """
        norm = torch.nn.utils.clip_grad_norm_([*self.hidden, *self.rest], clip)
        for matrix, weight in zip(self._matrices, self.hidden, strict=True):
            matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
        for optimiser, rate in zip((self.muon, self.adam), self.rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * scale
            optimiser.step()
        for weight in (*self.hidden, *self.rest):
            weight.grad = None
        return float(norm)

    def state_dict(self) -> dict[str, Any]:
        """Return the momenta of both parts."""
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the momenta of both parts."""
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def cosine(step: int, steps: int) -> float:
    """Scale of the learning rate: up in a hundred steps (a twentieth of a short run), then along a cosine to zero.

    >>> [round(cosine(step, 4000), 3) for step in (0, 100, 2000, 3999)]
    [0.01, 0.998, 0.5, 0.0]
    """
    warm_up = min(100, max(1, steps // 20))
    return 0.5 * (1.0 + math.cos(math.pi * step / steps)) * min(1.0, (step + 1) / warm_up)
