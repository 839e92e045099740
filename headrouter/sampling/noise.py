"""Draw noise that depends on the seed alone: on the CPU, one generator for each name and step."""

import hashlib
from collections.abc import Sequence
from typing import Final, final

import torch
from torch import Tensor

_PINNED: Final = frozenset({"cuda"})
"""Types of devices that take numbers from pinned memory while they compute."""


@final
class Noise:
    """Draws standard Gaussian noise for the pictures of a run, float32.

    Args:
        seeds: One seed for each picture.
        shape: Channels, rows and columns of one picture's latents.
        device: Device of the noise; it is drawn on the CPU all the same.

    >>> noise = Noise([7], (1, 1, 2), torch.device("cpu"))
    >>> bool((noise("y1", 0) == noise("y1", 0)).all()), bool((noise("y1", 0) == noise("y1", 1)).any())
    (True, False)
    """

    def __init__(self, seeds: Sequence[int], shape: tuple[int, int, int], device: torch.device):
        """Remember what to draw."""
        self._seeds, self._shape, self._device = tuple(seeds), shape, device

    def __call__(self, name: str, step: int) -> Tensor:
        """Return noise ``[images, channels, h, w]`` of this name and step.

        ``("start", 0)`` is what ``torch.Generator().manual_seed(seed)`` draws first, so that a plain generation equals that of a
        stock pipeline with the same seed.
        """
        drawn = torch.stack([self._draw(seed, name, step) for seed in self._seeds])
        if self._device.type in _PINNED:
            return drawn.pin_memory().to(self._device, non_blocking=True)
        return drawn.to(self._device)

    def _draw(self, seed: int, name: str, step: int) -> Tensor:
        if (name, step) != ("start", 0):
            digest = hashlib.sha256(f"{seed}/{name}/{step}".encode()).digest()
            seed = int.from_bytes(digest[:8], "big") >> 1
        generator = torch.Generator("cpu").manual_seed(seed)
        return torch.randn(self._shape, generator=generator, dtype=torch.float32, device="cpu")
