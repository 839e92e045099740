"""Compare pixels: PSNR, mean squared error, SSIM."""

from typing import ClassVar, Final

import numpy as np
import torch

from headrouter.experiments.dataset import Mask
from headrouter.experiments.metric import Column
from headrouter.imaging.measure import DEVIATION, WINDOW
from headrouter.imaging.picture import psnr
from headrouter_metrics.regions import Compare, Pixels, RegionMetric, arrays_of

CAP: Final = 100.0
"""PSNR of equal pictures, and the highest that is given, dB: records hold finite numbers."""


def psnr_where(source: Pixels, edit: Pixels, where: Mask | None) -> float | None:
    """Return the PSNR of pixels where the mask is true, at most :data:`CAP` dB; None without such pixels."""
    if where is None:
        return psnr(source, edit, most=CAP)
    return psnr(source[where], edit[where], most=CAP) if where.any() else None


def mse_where(source: Pixels, edit: Pixels, where: Mask | None) -> float | None:
    """Return the mean squared error, of values in [0, 1], where the mask is true; None without such pixels."""
    if where is not None and not where.any():
        return None
    error = (source.astype(np.float64) - edit) ** 2
    return float((error if where is None else error[where]).mean()) / 255**2


def ssim_where(source: Pixels, edit: Pixels, where: Mask | None) -> float | None:
    """Return the mean SSIM of the places whose window of 11×11 pixels is inside the mask; None without any."""
    from scipy.ndimage import binary_erosion
    from skimage.metrics import structural_similarity

    if min(source.shape[:2]) < WINDOW:
        return None
    _, similarity = structural_similarity(
        source,
        edit,
        win_size=WINDOW,
        gaussian_weights=True,
        sigma=DEVIATION,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=-1,
        full=True,
    )
    inside = np.ones(source.shape[:2], dtype=np.bool_) if where is None else where
    places = binary_erosion(inside, np.ones((WINDOW, WINDOW), dtype=np.bool_), border_value=0)
    return float(similarity[places].mean()) if places.any() else None


class Psnr(RegionMetric):
    """Holds the parameters of PSNR: 10·log10(255² / mean squared error) of 8-bit values, dB, at most 100."""

    name: ClassVar[str] = "psnr"
    column: ClassVar[Column] = Column("PSNR", "dB", "higher")

    def comparison(self, device: torch.device) -> Compare:
        """Return the function that measures."""
        return lambda edit, where: psnr_where(*arrays_of(edit), where)


class MeanSquaredError(RegionMetric):
    """Holds the parameters of the mean squared error of values in [0, 1]."""

    name: ClassVar[str] = "mse"
    column: ClassVar[Column] = Column("MSE ×10⁴", "", "lower", scale=1e4)

    def comparison(self, device: torch.device) -> Compare:
        """Return the function that measures."""
        return lambda edit, where: mse_where(*arrays_of(edit), where)


class Ssim(RegionMetric):
    """Holds the parameters of SSIM: a Gaussian window of 11×11 pixels, σ 1.5, RGB in [0, 255], without padding.

    Of a part of the picture, the mean is over the places whose whole window is in it; undefined where there is none.
    """

    name: ClassVar[str] = "ssim"
    column: ClassVar[Column] = Column("SSIM ×10²", "", "higher", scale=100)

    def comparison(self, device: torch.device) -> Compare:
        """Return the function that measures."""
        return lambda edit, where: ssim_where(*arrays_of(edit), where)
