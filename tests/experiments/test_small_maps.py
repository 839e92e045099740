"""Maps that an experiment keeps on request: those of the editor, in one byte a value, and pictures are the same with them."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from headrouter_blending.method import LocalBlend

from experiments import light
from headrouter import Editor
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import OtherConfiguration
from headrouter.experiments.run_folder.merging import merge
from headrouter.experiments.running.runner import run
from headrouter.experiments.running.small_maps import packed
from headrouter.plugins import reload
from headrouter.testing.toy import ToyMMDiT


@pytest.fixture(autouse=True, scope="module")
def _light() -> Iterator[None]:
    light.registered()
    yield
    reload()


def unpacked(found: dict[str, object]) -> np.ndarray:
    low, high = found["low"], found["high"]
    levels = np.frombuffer(base64.b64decode(str(found["values"])), np.uint8).reshape(found["shape"]).astype(float)
    return np.where(levels == 0, np.nan, low + (levels - 1) / 254 * (high - low))


def test_the_maps_are_the_editors_and_change_no_picture(tmp_path: Path) -> None:
    one = light.toy("one", "rf", ["headrouter", LocalBlend(mask="attention", blend=1.0)], steps=4)
    plain = light.experiment(one, pictures=2)
    asked = replace(plain, diagnostics=("mask", "words", "heads"))
    without = run(plain, tmp_path / "without", progress=False)
    records = run(asked, tmp_path / "with", progress=False)
    assert [record.saved for record in records] == [record.saved for record in without]
    assert not any(record.maps for record in without) and all(record.maps for record in records)
    item = asked.items[1]
    editor = Editor(ToyMMDiT(), one.inversion, one.methods, progress=False)
    seed = next(iter(asked.cells([item]))).noise_seed
    result = editor.edit(
        item.picture(), source_prompt=item.source_prompt, prompt=item.prompt, steps=4, guidance=3, seed=seed, maps=True
    )
    record = next(record for record in records if record.item == item.key)
    maps = json.loads((tmp_path / "with" / record.maps).read_text())
    assert list(maps["words"]) == ["green"]
    known = {
        "heads": result.head_weights[0].nanmean(dim=0),
        "green": result.text_map("green"),
        "mask": [mask for mask in result.recorded("masks")[0] if not mask.isnan().any()][-1],
    }
    for name, expected in known.items():
        found = unpacked(maps["words"]["green"] if name == "green" else maps[name])
        step = max(1e-6, float(np.nanmax(expected) - np.nanmin(expected))) / 254
        np.testing.assert_allclose(found, expected.numpy(), atol=step, err_msg=name)
    merge([tmp_path / "with"], tmp_path / "whole")
    assert (tmp_path / "whole" / record.maps).is_file()


def test_a_large_map_is_averaged_down_and_gaps_stay() -> None:
    found = packed(torch.arange(128.0).repeat(64, 1))
    assert found["shape"] == [16, 32]
    np.testing.assert_allclose(unpacked(found)[3], np.arange(32) * 4 + 1.5, atol=0.3)
    assert np.isnan(unpacked(packed(torch.tensor([[torch.nan, 2.0]])))).tolist() == [[True, False]]


def test_maps_that_nothing_could_record_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"`diagnostics` \['mask'\] are recorded by methods"):
        replace(light.experiment(OtherConfiguration("upside", light.Upside())), diagnostics=("mask",))


def test_maps_are_asked_for_where_no_row_needs_the_source(tmp_path: Path) -> None:
    steered, plain = light.toy("steered", "rf", "headrouter", steps=4), light.toy("plain", "rf", "none", steps=4)
    asked = replace(light.experiment(plain, steered, pictures=1), diagnostics=("heads",))
    records = run(asked, tmp_path / "run", progress=False)
    assert not [record.failures for record in records if record.failures]
    assert {record.configuration for record in records if record.maps} == {"steered"}
