"""Compute gradients of a batch in several CPU threads, each of which takes the next slice when free."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import torch

from headrouter.errors import InvalidInputError

Gradient: TypeAlias = tuple[torch.Tensor | None, ...]


def slices_of(batch: int, workers: int) -> int:
    """Return into how many slices a batch is cut: one for one thread, and two for each of several.

    Raises:
        InvalidInputError: the batch cannot be cut into so many of one size.
    """
    slices = 1 if workers == 1 else 2 * workers
    if batch % slices:
        raise InvalidInputError(f"`batch` must be a multiple of {slices}, 2·workers; got {batch}.")
    return slices


class Gradients:
    """Computes the gradient of a mean loss slice by slice.

    Slices are added in their order, so the sum does not depend on which thread was faster. On a busy machine this is
    much faster than many threads within each operation, which wait for the slowest hundreds of times a step.

    Args:
        parameters: what to differentiate by; their ``grad`` is set.
        workers: threads; with more than one, operations themselves should use a single thread.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], workers: int = 1) -> None:
        self.parameters = list(parameters)
        self.pool = ThreadPoolExecutor(workers) if workers > 1 else None

    def _slice(self, loss: Callable[[int], torch.Tensor], number: int, slices: int) -> tuple[float, Gradient]:
        value = loss(number) / slices
        return float(value.detach()), torch.autograd.grad(value, self.parameters, allow_unused=True)

    def __call__(self, loss: Callable[[int], torch.Tensor], slices: int) -> float:
        """Set ``grad`` to the gradient of the mean of ``loss(0) ... loss(slices - 1)`` and return that mean."""
        run = map if self.pool is None else self.pool.map
        total = 0.0
        for weight in self.parameters:
            weight.grad = None
        for value, gradients in run(lambda number: self._slice(loss, number, slices), range(slices)):
            total += value
            for weight, gradient in zip(self.parameters, gradients, strict=True):
                if weight.grad is None:
                    weight.grad = gradient
                elif gradient is not None:
                    weight.grad = weight.grad + gradient  # in place would be wrong for gradients that share memory
        return total
