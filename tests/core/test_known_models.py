"""A released model has the same defaults by its short name, by its hub id, from a folder, and as a given pipeline."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headrouter.editing.assembly import backbone_of, model_of
from headrouter.models.backbone import Backbone, BackboneParameters, Defaults
from headrouter.models.known_models import known_defaults
from headrouter.plugins import registry
from headrouter.plugins.specifications import Model
from headrouter.testing.toy import ToyMMDiT

RELEASED = [
    (backbone, entry.item)
    for backbone in ("sd3", "sd3.5", "flux", "auraflow", "flux2", "flux2-klein", "chroma", "krea2")
    for entry in registry().entries("model")
    if isinstance(entry.item, Model) and entry.item.backbone == backbone and ":" not in entry.item.source
]
TURBO = "stabilityai/stable-diffusion-3.5-large-turbo"


def folder(place: Path, index: Any) -> str:
    place.mkdir(parents=True)
    (place / "model_index.json").write_text(index if isinstance(index, str) else json.dumps(index))
    return str(place)


@pytest.mark.parametrize(("backbone", "model"), RELEASED, ids=lambda value: getattr(value, "name", value))
def test_by_hub_id_as_by_short_name(backbone: str, model: Model, tmp_path: Path) -> None:
    defaults = model_of(backbone, model.name)[1]
    assert defaults is not None and defaults.steps == model.steps
    assert model_of(backbone, model.source) == (model.source, defaults)
    assert model_of(backbone, model.source.lower())[1] == defaults
    cached = tmp_path / f"models--{model.source.replace('/', '--')}" / "snapshots" / "0a1b"
    for place in (folder(cached, {}), folder(tmp_path / "copy", {"_name_or_path": model.source})):
        assert model_of(backbone, place) == (place, defaults)


def test_the_same_code_under_another_name() -> None:
    assert model_of("sd3", TURBO)[1] == model_of("sd3.5", "turbo")[1]


def test_the_folder_of_bundled_weights() -> None:
    source, defaults = model_of("sd3.5", "shapes")
    assert defaults is not None and model_of("sd3.5", source) == (source, defaults)


@pytest.mark.parametrize("index", ["{", "[]", "5", '{"_name_or_path": 5}', '{"_name_or_path": "x/y"}', "[" * 10_000])
def test_an_unknown_or_damaged_folder_has_no_defaults(index: str, tmp_path: Path) -> None:
    assert model_of("sd3.5", folder(tmp_path / "x", index))[1] is None


@pytest.mark.parametrize("source", ["somebody/a-model", "~nobody-of-this-name/x", "a\0/b", "x/" + "y" * 5000])
def test_an_unknown_source_has_no_defaults(source: str) -> None:
    assert known_defaults("sd3.5", source) is None


class Remembering(BackboneParameters):
    """Gives the toy, and remembers with which defaults."""

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        seen.append(defaults)
        return ToyMMDiT()


seen: list[Defaults | None] = []


def test_a_given_pipeline_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrouter.editing.assembly.name_of", lambda *_: "sd3.5")
    for origin, defaults in ((TURBO, model_of("sd3.5", "turbo")[1]), (None, None), ("somebody/else", None)):
        pipeline = SimpleNamespace(name_or_path=origin)
        backbone_of(Remembering(), (), model=None, pipeline=pipeline, values={})
        assert seen.pop() == defaults
