"""Measure the perceptual distance LPIPS, arXiv:1801.03924."""

from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field

from headrouter.experiments.dataset import Mask
from headrouter.experiments.metric import Column
from headrouter_metrics.networks.features import Net
from headrouter_metrics.networks.files import files_revision
from headrouter_metrics.networks.lpips import LpipsNetwork, load_lpips, lpips_files
from headrouter_metrics.regions import Compare, Pixels, RegionMetric, arrays_of, tensor_of


def lpips_where(network: LpipsNetwork, source: Pixels, edit: Pixels, where: Mask | None) -> float | None:
    """Return the distance, or its mean over the pixels where the mask is true; None without such pixels.

    Of a part, the source is compared with itself but for the part, which is the edit's: no pixel beyond it makes a difference.
    """
    if where is None:
        return network.distance(2 * tensor_of(source) - 1, 2 * tensor_of(edit) - 1)
    if not where.any():
        return None
    joined = np.where(where[..., None], edit, source)
    spatial = network.spatial(2 * tensor_of(source) - 1, 2 * tensor_of(joined) - 1).cpu()
    return float(spatial[torch.from_numpy(where)].mean())


class Lpips(RegionMetric):
    """Holds the parameters of LPIPS, version 0.1, of pictures in their own size."""

    name: ClassVar[str] = "lpips"
    column: ClassVar[Column] = Column("LPIPS ×10³", "", "lower", scale=1000)

    net: Annotated[Net, Field(description="Network: AlexNet, VGG-16 or SqueezeNet 1.1.")] = "alex"
    weights: Annotated[
        str, Field(description="Folder with torchvision's file of the network; where PyTorch keeps downloads if empty.")
    ] = ""

    @property
    def revision(self) -> str:
        """Return a hash of the network's weights, and of those on its channels."""
        return files_revision(lpips_files(self.net, self.weights, "weights"))

    def check(self) -> None:
        """Look for the files."""
        lpips_files(self.net, self.weights, "weights")

    def comparison(self, device: torch.device) -> Compare:
        """Load the network, and return the function that measures."""
        network = load_lpips(self.net, lpips_files(self.net, self.weights, "weights"), device)
        return lambda edit, where: lpips_where(network, *arrays_of(edit), where)
