"""What the parts run on: a device, the sizes of the models, and how often."""

from dataclasses import dataclass
from typing import final

import torch

from benchmarks import models
from benchmarks.timing import Progress


@final
@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how large.

    Attributes:
        device: The accelerator, or the CPU to try things out.
        tiny: Small models in place of the released sizes.
        rounds: Rounds of each comparison.
        progress: Told of each step.
    """

    device: torch.device
    tiny: bool
    rounds: int
    progress: Progress

    dtype = torch.bfloat16

    @property
    def block(self) -> models.Size:
        """One double block of FLUX.1-dev."""
        return models.TINY if self.tiny else models.FLUX_BLOCK

    @property
    def pair(self) -> models.Size:
        """A double and a single block."""
        return models.TINY_PAIR if self.tiny else models.FLUX_PAIR

    @property
    def some(self) -> models.Size:
        """Some blocks of FLUX.1-dev."""
        return models.TINY_PAIR if self.tiny else models.FLUX_SOME

    @property
    def flux(self) -> models.Size:
        """All of FLUX.1-dev."""
        return models.TINY_PAIR if self.tiny else models.FLUX_DEV

    @property
    def sd35(self) -> models.Size:
        """All of SD3.5-medium."""
        return models.TINY_SD35 if self.tiny else models.SD35_MEDIUM
