"""Measure the structure distance: how far source and edit differ in the likeness of their places to each other."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate, mse_loss

from headrouter.experiments.metric import Column, Measure, Measured, Metric, Value
from headrouter_metrics.networks.dino import DINO, DinoNetwork, dino_folder, load_dino
from headrouter_metrics.networks.exact import exact
from headrouter_metrics.networks.files import folder_revision
from headrouter_metrics.regions import Pixels, arrays_of

RELEASED: Final = "facebook/dino-vitb8"
SHORT_SIDE: Final = 224
LONG_SIDE: Final = 480
_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)


def self_similarity(
    network: DinoNetwork, pixels: Pixels, white: float, antialias: bool
) -> Float[Tensor, "tokens tokens"]:
    """Return the cosines of the keys of all tokens of the last block, arXiv:2201.00424.

    Args:
        network: Gives the keys.
        pixels: RGB.
        white: Value of 255: 1, or 255 in the published evaluator of PIE-Bench.
        antialias: Whether making a picture smaller takes means; the shorter side becomes 224.
    """
    picture = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None].to(network.device) * (white / 255)
    size = _size(*picture.shape[2:])
    if size != tuple(picture.shape[2:]):
        picture = interpolate(picture, size, mode="bilinear", align_corners=False, antialias=antialias)
    mean, deviation = (
        torch.tensor(values, dtype=torch.float32, device=network.device)[:, None, None]
        for values in (_MEAN, _DEVIATION)
    )
    keys = network.keys((picture - mean) / deviation)
    norms = keys.norm(dim=1, keepdim=True)
    similarity: Tensor = (keys @ keys.T) / (norms @ norms.T).clamp(min=1e-8)
    return similarity


def _size(height: int, width: int) -> tuple[int, int]:
    short, long = sorted((height, width))
    new_short, new_long = SHORT_SIDE, int(SHORT_SIDE * long / short)
    if new_long > LONG_SIDE:
        new_short, new_long = int(LONG_SIDE * new_short / new_long), LONG_SIDE
    return (new_short, new_long) if height <= width else (new_long, new_short)


def structure_distance(
    network: DinoNetwork, source: Pixels, edit: Pixels, *, white: float = 1.0, antialias: bool = True
) -> float:
    """Return the mean squared difference of the self-similarities of two pictures."""
    first, second = (self_similarity(network, pixels, white, antialias) for pixels in (source, edit))
    return float(mse_loss(first, second))


class StructureDistance(Metric):
    """Holds the parameters of the structure distance, arXiv:2201.00424: 0 or more, 0 for equal pictures."""

    model: Annotated[str, Field(description="DINO model in the form of transformers: hub id or folder.")] = RELEASED

    @property
    def columns(self) -> Mapping[str, Column]:
        """Return the one column."""
        return {"structure_distance": Column("structure distance ×10³", "", "lower", scale=1000)}

    @property
    def revision(self) -> str:
        """Return a hash of the model's files."""
        return folder_revision(dino_folder(self.model, "model", DINO))

    def check(self) -> None:
        """Look for the model."""
        dino_folder(self.model, "model", DINO)

    def load(self, device: torch.device) -> Measure:
        """Load the model, and return the function that measures, one edit after the other."""
        network = load_dino(dino_folder(self.model, "model", DINO), device)

        def measure(edits: Sequence[Measured]) -> list[Mapping[str, Value]]:
            with exact(device):
                return [{"structure_distance": structure_distance(network, *arrays_of(edit))} for edit in edits]

        return measure
