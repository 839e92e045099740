"""Measure likeness by the class tokens of DINO and DINOv2."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from headrouter.experiments.metric import Column, Measure, Measured, Metric, Value
from headrouter_metrics.networks.clip import cosine
from headrouter_metrics.networks.dino import DINO, DINOV2, dino_folder, load_dino
from headrouter_metrics.networks.exact import exact
from headrouter_metrics.networks.files import folder_revision


class Dino(Metric):
    """Holds the parameters of the cosine of the class tokens of source and edit by DINO, from -1 to 1."""

    name: ClassVar[str] = "dino"
    column: ClassVar[Column] = Column("DINO", "", "higher", digits=4)
    types: ClassVar[tuple[str, ...]] = DINO

    model: Annotated[str, Field(description="DINO model in the form of transformers: hub id or folder.")] = (
        "facebook/dino-vits16"
    )

    @property
    def columns(self) -> Mapping[str, Column]:
        """Return the one column."""
        return {self.name: self.column}

    @property
    def revision(self) -> str:
        """Return a hash of the model's files."""
        return folder_revision(dino_folder(self.model, "model", self.types))

    def check(self) -> None:
        """Look for the model."""
        dino_folder(self.model, "model", self.types)

    def load(self, device: torch.device) -> Measure:
        """Load the model, and return the function that measures, one edit after the other."""
        network = load_dino(dino_folder(self.model, "model", self.types), device)

        def measure(edits: Sequence[Measured]) -> list[Mapping[str, Value]]:
            with exact(device):
                tokens = [[network.class_token(picture) for picture in (edit.source, edit.edit)] for edit in edits]
                return [{self.name: cosine(*pair)} for pair in tokens]

        return measure


class Dinov2(Dino):
    """Holds the parameters of the cosine of the class tokens of source and edit by DINOv2, from -1 to 1."""

    name: ClassVar[str] = "dinov2"
    column: ClassVar[Column] = Column("DINOv2", "", "higher", digits=4)
    types: ClassVar[tuple[str, ...]] = DINOV2

    model: Annotated[str, Field(description="DINOv2 model in the form of transformers: hub id or folder.")] = (
        "facebook/dinov2-base"
    )
