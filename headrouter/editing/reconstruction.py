"""Measure how well an inversion holds a picture."""

from dataclasses import dataclass, field
from typing import final

from PIL import Image
from typing_extensions import Self

from headrouter.imaging.measure import ssim
from headrouter.imaging.picture import psnr
from headrouter.sampling.cost import Cost


@final
@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Holds a picture edited with its own prompt and without steering.

    Attributes:
        image: Reconstructed picture, in the picture's own size.
        psnr: Peak signal-to-noise ratio to the picture, dB; inf if equal.
        ssim: Structural similarity to the picture, at most 1.
        cost: Cost of inversion and sampling.
    """

    image: Image.Image = field(repr=False)
    psnr: float
    ssim: float
    cost: Cost

    @classmethod
    def compare(cls, image: Image.Image, picture: Image.Image, cost: Cost) -> Self:
        """Measure ``image`` against ``picture``."""
        return cls(image, psnr(image, picture), ssim(image, picture), cost)
