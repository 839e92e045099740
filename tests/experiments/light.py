"""Experiments that run in milliseconds: a toy model, drawn noise as pictures, and metrics without networks."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from headrouter.experiments.composing import configure
from headrouter.experiments.configuration import AnyConfiguration, OtherConfiguration
from headrouter.experiments.dataset import Dataset, Item
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.metric import Column, Measure, Measured, Metric
from headrouter.experiments.other_editor import Edit, EditRequest, OtherEditor
from headrouter.imaging.picture import psnr
from headrouter.plugins import register
from headrouter.plugins.specifications import (
    BackboneSpec,
    DatasetSpec,
    EditorSpec,
    MetricSpec,
    Model,
    hookimpl,
)
from headrouter.testing.toy import ToyMMDiT

WORDS = ("red", "green", "blue", "grey")


@dataclass(frozen=True)
class NoiseItem(Item):
    size: tuple[int, int] = (32, 32)
    broken: bool = False

    def picture(self) -> Image.Image:
        if self.broken:
            raise OSError("the picture is gone")
        pixels = np.random.default_rng(self.number).random((*self.size[::-1], 3)) * 255
        return Image.fromarray(pixels.astype(np.uint8))

    def truth(self) -> Image.Image:
        return Image.fromarray(255 - np.asarray(self.picture()))


class NoiseSet(Dataset):
    """Pictures of noise, each with some edits."""

    pictures: int = 4
    edits: int = 2
    sizes: tuple[tuple[int, int], ...] = ((32, 32),)
    broken: tuple[int, ...] = ()
    salt: str = ""
    suffix: str = ""
    instruction: str = ""

    def items(self) -> Sequence[Item]:
        return [
            NoiseItem(
                f"{number:03d}-{edit}",
                f"p{number}",
                number,
                WORDS[edit % 4],
                f"noise number {number}",
                f"{WORDS[edit % 4]} noise number {number} {'very ' * (edit // 4)}{self.suffix}".strip(),
                self.instruction,
                size=self.sizes[number % len(self.sizes)],
                broken=number in self.broken,
            )
            for number in range(self.pictures)
            for edit in range(self.edits)
        ]

    @property
    def revision(self) -> str:
        return hashlib.sha256(
            f"{self.pictures} {self.edits} {self.sizes} {self.salt}{self.suffix}{self.instruction}".encode()
        ).hexdigest()[:12]


class Likeness(Metric):
    """PSNR to the source, and the kind in words."""

    broken: str = ""

    @property
    def columns(self) -> Mapping[str, Column]:
        return {"psnr": Column("PSNR", "dB", "higher"), "same": Column("same", better="higher"), "kind": Column("kind")}

    def load(self, device: torch.device) -> Measure:
        def measure(edits: Sequence[Measured]) -> list[dict[str, Any]]:
            if any(edit.item.kind == self.broken for edit in edits):
                raise ValueError(f"cannot measure {self.broken}")
            found = [psnr(edit.source, edit.edit, most=99) for edit in edits]
            return [
                {"psnr": value if edit.item.number else float("nan"), "same": value == 99, "kind": edit.item.kind}
                for value, edit in zip(found, edits, strict=True)
            ]

        return measure


class Brightness(Metric):
    """Mean of the edited picture."""

    @property
    def columns(self) -> Mapping[str, Column]:
        return {"mean": Column("mean", better="higher")}

    def load(self, device: torch.device) -> Measure:
        return lambda edits: [{"mean": float(np.asarray(one.edit).mean())} for one in edits]


class Upside(OtherEditor):
    """Turns pictures upside down."""

    fails_on: str = ""

    @property
    def revision(self) -> str:
        return "1"

    def load(self, device: torch.device) -> Edit:
        def edit(request: EditRequest) -> Image.Image:
            if self.fails_on and self.fails_on in request.prompt:
                raise RuntimeError(f"no {self.fails_on}")
            return request.picture.rotate(180)

        return edit


class Plugin:
    headrouter_api = 1

    @hookimpl
    def register_backbones(self, register: Callable[[Any], None]) -> None:
        toy, target = ToyMMDiT(), "headrouter.testing.toy:ToyParameters"
        register(BackboneSpec("toy", target, provides=toy.provides, default_model="random", summary="A toy."))

    @hookimpl
    def register_models(self, register: Callable[[Any], None]) -> None:
        register(Model("random", "toy", "toy/random", steps=2, guidance=3.0, area=32 * 32))

    @hookimpl
    def register_datasets(self, register: Callable[[Any], None]) -> None:
        register(DatasetSpec("noise", f"{__name__}:NoiseSet", summary="Noise."))

    @hookimpl
    def register_metrics(self, register: Callable[[Any], None]) -> None:
        register(MetricSpec("likeness-1", f"{__name__}:Likeness", summary="PSNR."))
        register(MetricSpec("brightness-1", f"{__name__}:Brightness", summary="Mean."))

    @hookimpl
    def register_editors(self, register: Callable[[Any], None]) -> None:
        register(EditorSpec("upside", f"{__name__}:Upside", summary="Turns."))


def registered() -> None:
    """Take the parts into the registry of this process."""
    register(Plugin(), name="light", override=True)


def toy(name: str, inversion: Any = "euler", method: Any = None, **knobs: Any) -> AnyConfiguration:
    return configure(name, "toy", inversion, method, **knobs)


def experiment(
    *configurations: AnyConfiguration,
    seeds: tuple[int, ...] = (0,),
    metrics: Mapping[str, Metric] | None = None,
    name: str = "light",
    **data: Any,
) -> Experiment:
    """Return an experiment over noise: two configurations that share inversions, a third, and another editor."""
    chosen = configurations or (
        toy("euler"),
        toy("steered", "euler", "headrouter"),
        toy("sdedit", "sdedit"),
        OtherConfiguration("upside", Upside()),
    )
    measured = {"likeness-1": Likeness()} if metrics is None else metrics
    return Experiment(name, NoiseSet(**data), measured, tuple(chosen), seeds)
