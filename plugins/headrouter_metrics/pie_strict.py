"""Compute PIE-Bench's figures with means over background pixels alone, and values in the networks' own range."""

from collections.abc import Mapping
from typing import ClassVar

from headrouter.experiments.dataset import Mask
from headrouter.experiments.metric import Measured, Value
from headrouter_metrics.clip import only
from headrouter_metrics.lpips import lpips_where
from headrouter_metrics.pie import Networks, PieMetric
from headrouter_metrics.pixels import mse_where, psnr_where, ssim_where
from headrouter_metrics.regions import Pixels
from headrouter_metrics.structure import structure_distance


class PieStrict(PieMetric):
    """Holds the parameters of PIE-Bench's figures as meant: those of ``psnr-1``, ``lpips-1`` and the others, of the background.

    LPIPS is that of SqueezeNet, as published.
    """

    form: ClassVar[str] = "strict"

    def values(
        self, networks: Networks, source: Pixels, edit: Pixels, background: Mask, edited: Measured
    ) -> Mapping[str, Value]:
        """Return the figures of one edit."""
        item, clip = edited.item, networks.clip
        inside = ~background
        return {
            "structure_distance": structure_distance(networks.dino, source, edit),
            "psnr_unedit_part": psnr_where(source, edit, background),
            "lpips_unedit_part": lpips_where(networks.lpips, source, edit, background),
            "mse_unedit_part": mse_where(source, edit, background),
            "ssim_unedit_part": ssim_where(source, edit, background),
            "clip_similarity_source_image": clip.agreement(edited.source, item.source_prompt),
            "clip_similarity_target_image": clip.agreement(edited.edit, item.prompt),
            "clip_similarity_target_image_edit_part": (
                clip.agreement(only(edit, inside), item.prompt) if inside.any() else None
            ),
        }
