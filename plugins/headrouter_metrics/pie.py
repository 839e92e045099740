"""Share what both forms of PIE-Bench's figures have: columns and networks (arXiv:2310.01506)."""

import abc
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Final

import torch
from pydantic import Field

from headrouter.experiments.dataset import Mask
from headrouter.experiments.metric import Column, Measure, Measured, Metric, Value
from headrouter_metrics.networks.clip import RELEASED, Clip, clip_folder, load_clip
from headrouter_metrics.networks.dino import DINO, DinoNetwork, dino_folder, load_dino
from headrouter_metrics.networks.exact import exact
from headrouter_metrics.networks.files import files_revision, folder_revision
from headrouter_metrics.networks.lpips import LpipsNetwork, load_lpips, lpips_files
from headrouter_metrics.regions import Pixels, arrays_of, part_of
from headrouter_metrics.structure import RELEASED as RELEASED_DINO

COLUMNS: Final = {
    "structure_distance": Column("structure distance ×10³", "", "lower", scale=1000),
    "psnr_unedit_part": Column("PSNR", "dB", "higher"),
    "lpips_unedit_part": Column("LPIPS ×10³", "", "lower", scale=1000),
    "mse_unedit_part": Column("MSE ×10⁴", "", "lower", scale=1e4),
    "ssim_unedit_part": Column("SSIM ×10²", "", "higher", scale=100),
    "clip_similarity_source_image": Column("CLIP, source"),
    "clip_similarity_target_image": Column("CLIP, whole", "", "higher"),
    "clip_similarity_target_image_edit_part": Column("CLIP, edited", "", "higher"),
}
"""The figures under the names that the published evaluator writes, with titles for tables."""


class Networks:
    """Holds the three networks."""

    def __init__(self, clip: Clip, lpips: LpipsNetwork, dino: DinoNetwork) -> None:
        self.clip, self.lpips, self.dino = clip, lpips, dino


class PieMetric(Metric):
    """Holds the networks that both forms measure by."""

    clip: Annotated[str, Field(description="CLIP model: hub id or folder.")] = RELEASED
    dino: Annotated[str, Field(description="DINO model: hub id or folder.")] = RELEASED_DINO
    squeezenet: Annotated[
        str,
        Field(description="Folder with torchvision's file of SqueezeNet 1.1; where PyTorch keeps downloads if empty."),
    ] = ""

    @property
    def needs(self) -> frozenset[str]:
        """Return ``mask`` and ``source_prompt``."""
        return frozenset({"mask", "source_prompt"})

    form: ClassVar[str]
    """In titles, since a table may have both."""

    @property
    def columns(self) -> Mapping[str, Column]:
        """Return the eight figures."""
        return {name: replace(column, title=f"{column.title} ({self.form})") for name, column in COLUMNS.items()}

    def _files(self) -> tuple[Path, Path, tuple[Path, Path]]:
        return (
            clip_folder(self.clip, "clip"),
            dino_folder(self.dino, "dino", DINO),
            lpips_files("squeeze", self.squeezenet, "squeezenet"),
        )

    @property
    def revision(self) -> str:
        """Return a hash of the networks' files."""
        clip, dino, lpips = self._files()
        parts = (folder_revision(clip), folder_revision(dino), files_revision(lpips))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def check(self) -> None:
        """Look for the networks."""
        self._files()

    @abc.abstractmethod
    def values(
        self, networks: Networks, source: Pixels, edit: Pixels, background: Mask, edited: Measured
    ) -> Mapping[str, Value]:
        """Return the figures of one edit.

        Args:
            networks: All three.
            source, edit: uint8 [H, W, 3].
            background: Where the edit should change nothing, bool [H, W].
            edited: The edit, with its texts.
        """

    def load(self, device: torch.device) -> Measure:
        """Load the networks, and return the function that measures, one edit after the other."""
        clip, dino, lpips = self._files()
        networks = Networks(load_clip(clip, device), load_lpips("squeeze", lpips, device), load_dino(dino, device))

        def one(edit: Measured) -> Mapping[str, Value]:
            background = part_of(edit, "background")
            assert background is not None
            return self.values(networks, *arrays_of(edit), background, edit)

        def measure(edits: Sequence[Measured]) -> list[Mapping[str, Value]]:
            with exact(device):
                return [one(edit) for edit in edits]

        return measure
