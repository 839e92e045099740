"""Build the convolutions of AlexNet, VGG-16 and SqueezeNet 1.1, by whose activations LPIPS compares.

Names of parameters are those of torchvision's files. They are built here, since importing torchvision fails where its compiled
part does not fit PyTorch's.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import Conv2d, MaxPool2d, Module, ReLU, Sequential

Net = Literal["alex", "vgg", "squeeze"]

LAST_LAYERS: Final[dict[Net, tuple[int, ...]]] = {
    "alex": (1, 4, 7, 9, 11),
    "vgg": (3, 8, 15, 22, 29),
    "squeeze": (1, 4, 7, 9, 10, 11, 12),
}
"""Layers whose outputs are compared."""


class Fire(Module):
    """Joins what 1×1 and 3×3 convolutions see of few channels (arXiv:1602.07360)."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = Conv2d(channels, squeezed, 1)
        self.expand1x1 = Conv2d(squeezed, expanded, 1)
        self.expand3x3 = Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return twice ``expanded`` channels."""
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], dim=1)


def _alex() -> Iterator[Module]:
    yield from (Conv2d(3, 64, 11, stride=4, padding=2), ReLU(), MaxPool2d(3, 2))
    yield from (Conv2d(64, 192, 5, padding=2), ReLU(), MaxPool2d(3, 2))
    for before, after in pairwise((192, 384, 256, 256)):
        yield from (Conv2d(before, after, 3, padding=1), ReLU())


def _vgg() -> Iterator[Module]:
    before = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            yield from (Conv2d(before, width, 3, padding=1), ReLU())
            before = width
        yield MaxPool2d(2, 2)


def _squeeze() -> Iterator[Module]:
    yield from (Conv2d(3, 64, 3, stride=2), ReLU(), MaxPool2d(3, 2, ceil_mode=True))
    yield from (Fire(64, 16, 64), Fire(128, 16, 64), MaxPool2d(3, 2, ceil_mode=True))
    yield from (Fire(128, 32, 128), Fire(256, 32, 128), MaxPool2d(3, 2, ceil_mode=True))
    yield from (Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256))


def features(net: Net) -> Sequential:
    """Return the convolutions of a network, with random weights."""
    layers = {"alex": _alex, "vgg": _vgg, "squeeze": _squeeze}[net]
    return Sequential(*layers())


def activations(layers: Sequential, net: Net, x: Tensor) -> Iterator[Tensor]:
    """Yield the outputs that LPIPS compares."""
    wanted = LAST_LAYERS[net]
    for number, layer in zip(range(wanted[-1] + 1), layers, strict=False):
        x = layer(x)
        if number in wanted:
            yield x
