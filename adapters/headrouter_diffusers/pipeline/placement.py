"""Find where a pipeline's transformer computes, and keep the answer for the calls of a run."""

from typing import Any, TypeAlias, final

import torch

from headrouter.compat import first_weight
from headrouter_diffusers import compat
from headrouter_diffusers.attention.inference import is_unseen

Place: TypeAlias = tuple[torch.device, torch.dtype, bool]
"""Device and number type of the transformer's inputs, and whether only the model's own code sees the tensors of a call."""


@final
class Placement:
    """Returns, when called, the place of a transformer.

    All are walks over all modules, so they are kept until :meth:`forget`, or the transformer's first weight is moved,
    converted or given hooks.
    """

    def __init__(self, pipeline: Any, keeps_no_tensor: bool):
        """Begin with no place known.

        Args:
            pipeline: The diffusers pipeline.
            keeps_no_tensor: Whether the transformer keeps none of the tensors that it makes in a call.
        """
        self._pipeline, self._keeps_no_tensor = pipeline, keeps_no_tensor
        self._placed: dict[Any, Place] = {}

    def __call__(self) -> Place:
        """Return the place, which is looked for where it is not known."""
        transformer = self._pipeline.transformer
        weight = first_weight(transformer)
        assert weight is not None
        where = (weight.device, weight.dtype, compat.placement_of(transformer))
        if where not in self._placed:
            unseen = self._keeps_no_tensor and is_unseen(transformer)
            self._placed[where] = (compat.execution_device(self._pipeline), compat.dtype_of(transformer), unseen)
        return self._placed[where]

    def forget(self) -> None:
        """Look for the place anew when it is asked for next."""
        self._placed.clear()
