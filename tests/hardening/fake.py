"""A backbone that counts its uses: the toy over pictures of 16 × 16 pixels."""

from collections import Counter
from typing import Any

from headrouter.models.backbone import Backbone, BackboneParameters, Defaults
from headrouter.testing.toy import ToyMMDiT

uses: Counter[str] = Counter()
"""How often a model was loaded, and how often one was evaluated."""


class Fake(ToyMMDiT):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(pictures=16)

    def velocity(self, *arguments: Any) -> Any:
        uses["evaluated"] += 1
        return super().velocity(*arguments)


class FakeParameters(BackboneParameters):
    seed: int = 0
    layers: tuple[int, ...] = ()

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        uses["loaded"] += 1
        return Fake()
