"""Compute PIE-Bench's figures as its published evaluator does, so that they compare with published tables."""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from headrouter.experiments.dataset import Mask
from headrouter.experiments.metric import Measured, Value
from headrouter_metrics.clip import only
from headrouter_metrics.pie import Networks, PieMetric
from headrouter_metrics.pixels import CAP, ssim_where
from headrouter_metrics.regions import Pixels
from headrouter_metrics.structure import structure_distance


class PieV1(PieMetric):
    """Holds the parameters of PIE-Bench's figures as published.

    Before comparing the unedited part, both pictures are set to 0 in the edited region, which then counts in every mean. LPIPS is
    that of SqueezeNet. The structure distance normalises values from 0 to 255 as if they were from 0 to 1. CLIP's scores are at
    least 0, and a text that is too long loses its end token. Of the edited region, all else is black.
    """

    form: ClassVar[str] = "PIE"

    antialias: Annotated[
        bool,
        Field(
            description="How pictures are made smaller for the structure distance. The evaluator leaves this to torchvision: false "
            "in the version 0.13.1 that its authors name, true from 0.17 on."
        ),
    ] = False
    ssim_border: Annotated[
        bool,
        Field(
            description="Whether SSIM counts places within 5 pixels of the border, as torchmetrics does from 1.4.2 on, and did "
            "not when the evaluator was published."
        ),
    ] = False

    def values(
        self, networks: Networks, source: Pixels, edit: Pixels, background: Mask, edited: Measured
    ) -> Mapping[str, Value]:
        """Return the figures of one edit."""
        item, clip = edited.item, networks.clip
        inside = ~background

        def score(picture: Image.Image, text: str) -> float:
            return max(0.0, clip.agreement(picture, text, keep_end=False))

        return {
            "structure_distance": structure_distance(networks.dino, source, edit, white=255, antialias=self.antialias),
            **_unedited(networks, source, edit, background, self.ssim_border),
            "clip_similarity_source_image": score(edited.source, item.source_prompt),
            "clip_similarity_target_image": score(edited.edit, item.prompt),
            "clip_similarity_target_image_edit_part": score(only(edit, inside), item.prompt) if inside.any() else None,
        }


def _unedited(
    networks: Networks, source: Pixels, edit: Pixels, background: Mask, ssim_border: bool
) -> dict[str, Value]:
    """Compare pictures that are 0 in the edited region; None where that is all."""
    from torchmetrics.functional import mean_squared_error

    names = [f"{name}_unedit_part" for name in ("psnr", "lpips", "mse", "ssim")]
    if not background.any():
        return dict.fromkeys(names)
    kept = torch.from_numpy(background.astype(np.float32))
    both = [
        (torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1) * kept)[None]
        .contiguous()
        .to(networks.dino.device)
        for pixels in (source, edit)
    ]
    exactly = [picture.double() for picture in both]
    error = float(mean_squared_error(*exactly))
    if ssim_border:
        from torchmetrics.functional.image import structural_similarity_index_measure

        similarity: float | None = float(structural_similarity_index_measure(*exactly, data_range=1.0))
    else:  # the same away from the border, by two passes of 11 places instead of one of 121
        similarity = ssim_where(source * background[..., None], edit * background[..., None], None)
    values = (
        min(CAP, -10 * math.log10(error)) if error else CAP,
        networks.lpips.distance(*(2 * picture - 1 for picture in both)),
        error,
        similarity,
    )
    return dict(zip(names, values, strict=True))
