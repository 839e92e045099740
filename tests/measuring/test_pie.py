"""Both forms of PIE-Bench's figures are those of an independent transcription, on the same random networks."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
from headrouter_metrics.pie_strict import PieStrict
from headrouter_metrics.pie_v1 import PieV1

from . import networks
from .edits import edit, unchanged, with_mask
from .oracle import Evaluator

WEIGHTS = Path(torchmetrics.__file__).parent / "functional/image/lpips_models/squeeze.pth"
EDITS = [
    edit((128, 128), 0),
    edit((96, 96), 1, "a blue dog in a very long sentence that is cut"),
    edit((256, 256), 2, "another"),
]


@pytest.fixture(scope="module")
def parameters(tiny):
    return {"clip": str(tiny["clip"]), "dino": str(tiny["dino"]), "squeezenet": str(tiny["lpips"])}


@pytest.fixture(scope="module")
def evaluator(tiny):
    return Evaluator(tiny["clip"], tiny["dino"], tiny["lpips"] / networks.FILES["squeeze"], WEIGHTS)


def measured(metric, edits):
    return metric.load(torch.device("cpu"))(edits)


def close(found, wanted):
    assert found.keys() == wanted.keys()
    off = {name: abs(found[name] - value) / max(1, abs(value)) for name, value in wanted.items()}
    assert max(off.values()) < 1e-6, off


@pytest.mark.parametrize("newer", [False, True], ids=["as published", "with newer libraries"])
def test_the_published_evaluator(parameters, evaluator, newer):
    metric = PieV1(**parameters, antialias=newer, ssim_border=newer)
    for one, values in zip(EDITS, measured(metric, EDITS), strict=True):
        close(values, evaluator.published(one, one.item.inside, newer, newer))


def test_strict(parameters, evaluator):
    for one, values in zip(EDITS, measured(PieStrict(**parameters), EDITS), strict=True):
        close(values, evaluator.strict(one, one.item.inside))


def test_the_two_differ_where_they_should(parameters):
    """The published means are diluted by the pixels that were set to zero."""
    (one,), (two,) = (measured(kind(**parameters), EDITS[:1]) for kind in (PieV1, PieStrict))
    share = 1 - EDITS[0].item.inside.mean()
    assert one["mse_unedit_part"] == pytest.approx(share * two["mse_unedit_part"], rel=1e-5)
    assert one["psnr_unedit_part"] == pytest.approx(two["psnr_unedit_part"] - 10 * np.log10(share), abs=1e-4)
    assert one["structure_distance"] != pytest.approx(two["structure_distance"], rel=0.01)


@pytest.mark.parametrize("kind", [PieV1, PieStrict])
def test_nothing_outside_or_inside_the_mask(parameters, kind):
    everywhere = with_mask(EDITS[0], np.ones((128, 128), dtype=bool))
    nowhere = with_mask(EDITS[0], np.zeros((128, 128), dtype=bool))
    all_edited, none_edited = measured(kind(**parameters), [everywhere, nowhere])
    undefined = {name for name, value in all_edited.items() if value is None}
    assert undefined == {f"{name}_unedit_part" for name in ("psnr", "lpips", "mse", "ssim")}
    assert [name for name, value in none_edited.items() if value is None] == ["clip_similarity_target_image_edit_part"]


@pytest.mark.parametrize("kind", [PieV1, PieStrict])
def test_an_unchanged_picture(parameters, kind):
    (values,) = measured(kind(**parameters), [unchanged(EDITS[0])])
    assert values["structure_distance"] == values["lpips_unedit_part"] == values["mse_unedit_part"] == 0
    assert values["psnr_unedit_part"] == 100 and values["ssim_unedit_part"] == pytest.approx(1)


def test_no_pixel_of_the_edited_region_enters_a_strict_figure(parameters):
    one = EDITS[0]
    pixels = np.asarray(one.edit).copy()
    pixels[one.item.inside] = 255 - pixels[one.item.inside]
    from dataclasses import replace

    from PIL import Image

    other = replace(one, edit=Image.fromarray(pixels))
    first, second = measured(PieStrict(**parameters), [one, other])
    assert all(first[name] == second[name] for name in first if name.endswith("unedit_part"))
