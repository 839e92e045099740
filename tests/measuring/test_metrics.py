"""Each metric gives what its equation says, in any batch, and refuses what it cannot measure before loading anything."""

import math

import numpy as np
import pytest
import torch
from headrouter_metrics.clip import ClipDirectional, ClipImage, ClipText
from headrouter_metrics.dino import Dino, Dinov2
from headrouter_metrics.lpips import Lpips
from headrouter_metrics.networks.features import features
from headrouter_metrics.networks.files import folder_revision
from headrouter_metrics.pie_v1 import PieV1
from headrouter_metrics.pixels import MeanSquaredError, Psnr, Ssim
from headrouter_metrics.structure import StructureDistance, _size
from pydantic import ValidationError

from headrouter.errors import InvalidInputError
from headrouter.imaging.measure import ssim

from . import networks
from .edits import edit, unchanged, with_mask
from .oracle import PlainClip, PlainDino, chw, ssim_map

CPU = torch.device("cpu")
ALL = ("whole", "background", "edited")


def measured(metric, *edits):
    rows = metric.load(CPU)(edits)
    assert all(row.keys() == metric.columns.keys() for row in rows)
    return rows if len(edits) > 1 else rows[0]


def test_pixels():
    one = edit((60, 48))
    a, b, inside = np.asarray(one.source) / 255, np.asarray(one.edit) / 255, one.item.inside
    errors = {
        "": ((a - b) ** 2).mean(),
        "_background": ((a - b)[~inside] ** 2).mean(),
        "_edited": ((a - b)[inside] ** 2).mean(),
    }
    found = measured(MeanSquaredError(regions=ALL), one)
    assert found == pytest.approx({f"mse{name}": value for name, value in errors.items()}, rel=1e-9)
    found = measured(Psnr(regions=ALL), one)
    assert found == pytest.approx({f"psnr{name}": -10 * math.log10(value) for name, value in errors.items()}, rel=1e-9)


def test_ssim():
    one = edit((60, 48))
    found = measured(Ssim(regions=ALL), one)
    assert found["ssim"] == pytest.approx(ssim(one.source, one.edit), abs=1e-12)
    similar = ssim_map(chw(one.source) / 255, chw(one.edit) / 255).mean(1)[0]
    inside = one.item.inside
    for name, part in (("background", ~inside), ("edited", inside)):
        whole = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(part, (11, 11)).all((2, 3)))
        wanted = float(similar[whole].mean()) if whole.any() else None
        assert found[f"ssim_{name}"] == pytest.approx(wanted, abs=1e-6), name


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_lpips_is_that_of_torchmetrics(tmp_path, monkeypatch, net):
    from torchmetrics.functional.image import lpips

    networks.convolutions(tmp_path, net)
    state = torch.load(tmp_path / networks.FILES[net])

    def stand_in(name, pretrained):
        layers = features(net)
        layers.load_state_dict({key[9:]: value for key, value in state.items() if key.startswith("features.")})
        return layers

    monkeypatch.setattr(lpips, "_get_tv_model_features", stand_in)
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *given, **options: load(*given, **{**options, "map_location": "cpu"}))
    one = edit((70, 64))
    pair = [2 * chw(picture) / 255 - 1 for picture in (one.source, one.edit)]
    wanted = float(lpips.learned_perceptual_image_patch_similarity(*pair, net_type=net))
    found = measured(Lpips(net=net, weights=str(tmp_path), regions=ALL), one)
    assert found["lpips"] == pytest.approx(wanted, rel=1e-6)
    assert 0 < found["lpips_background"] < found["lpips_edited"]


def test_the_networks_are_those_of_torchvision_by_their_parameters():
    """Counts of torchvision's ``features``; names and shapes of some."""
    counts = {"alex": 2_469_696, "vgg": 14_714_688, "squeeze": 722_496}
    for net, count in counts.items():
        with torch.device("meta"):
            state = features(net).state_dict()
        assert sum(value.numel() for value in state.values()) == count
        assert ("7.expand3x3.weight" if net == "squeeze" else "10.weight") in state


def test_clip(tiny):
    one, plain = edit((64, 48)), PlainClip(tiny["clip"])
    folder = str(tiny["clip"])
    inside = np.asarray(one.edit) * one.item.inside[..., None]
    found = measured(ClipText(model=folder, regions=("whole", "edited")), one)
    assert found["clip_t"] == pytest.approx(plain.score(one.edit, "a red dog"), rel=1e-6)
    from PIL import Image

    assert found["clip_t_edited"] == pytest.approx(plain.score(Image.fromarray(inside), "a red dog"), rel=1e-6)
    source, after, before_text, text = (
        torch.nn.functional.normalize(vector, dim=0)
        for vector in (
            plain.picture(one.source),
            plain.picture(one.edit),
            plain.text("a cat", True),
            plain.text("a red dog", True),
        )
    )
    assert measured(ClipImage(model=folder), one)["clip_i"] == pytest.approx(float(source @ after), abs=1e-6)
    wanted = torch.nn.functional.cosine_similarity(after - source, text - before_text, dim=0)
    assert measured(ClipDirectional(model=folder), one)["clip_directional"] == pytest.approx(float(wanted), abs=1e-5)
    assert measured(ClipDirectional(model=folder), unchanged(one))["clip_directional"] == 0


def test_dino(tiny):
    one = edit((64, 48))
    for metric in (Dino(model=str(tiny["dino"])), Dinov2(model=str(tiny["dinov2"]))):
        (name,) = metric.columns
        assert -1 <= measured(metric, one)[name] < 0.99999
        assert measured(metric, unchanged(one))[name] == pytest.approx(1, abs=1e-6)


def test_structure_distance(tiny):
    one, plain = edit((96, 96)), PlainDino(tiny["dino"])
    found = measured(StructureDistance(model=str(tiny["dino"])), one)["structure_distance"]
    assert found == pytest.approx(plain.structure_distance(one.source, one.edit, 1, True), abs=1e-8) and found > 1e-6
    assert measured(StructureDistance(model=str(tiny["dino"])), unchanged(one))["structure_distance"] == 0
    assert measured(StructureDistance(model=str(tiny["dino"])), edit((64, 100)))["structure_distance"] > 0, "not square"


@pytest.mark.parametrize(
    ("size", "wanted"), [((512, 512), (224, 224)), ((600, 400), (336, 224)), ((300, 1000), (144, 480))]
)
def test_the_size_for_the_structure_distance(size, wanted):
    assert _size(*size) == wanted


def metrics(tiny):
    clip, dino, lpips = (str(tiny[name]) for name in ("clip", "dino", "lpips"))
    return [
        Psnr(regions=ALL),
        Ssim(regions=ALL),
        Lpips(net="squeeze", weights=lpips, regions=ALL),
        ClipText(model=clip),
        Dino(model=dino),
        PieV1(clip=clip, dino=dino, squeezenet=lpips),
    ]


def test_neither_order_nor_neighbours_nor_the_program_around_matter(tiny):
    edits = [edit((64, 48), 0), edit((80, 80), 1), edit((64, 48), 2)]
    for metric in metrics(tiny):
        measure = metric.load(CPU)
        together = list(measure(edits))
        assert together == [measure([one])[0] for one in edits]
        torch.set_default_dtype(torch.float64)
        try:
            with torch.autocast("cpu", torch.bfloat16):
                assert together[::-1] == list(measure(edits[::-1]))
        finally:
            torch.set_default_dtype(torch.float32)


def test_parts_that_are_empty_are_undefined(tiny):
    nothing = with_mask(edit((64, 48)), np.zeros((48, 64), dtype=bool))
    for metric in metrics(tiny)[:3]:
        (name,) = (name for name in metric.columns if name.endswith("_edited"))
        assert measured(metric, nothing)[name] is None


def test_what_a_metric_needs():
    assert Psnr().needs == frozenset() and Psnr(regions=("background",)).needs == {"mask"}
    assert ClipDirectional().needs == {"source_prompt"} and PieV1().needs == {"mask", "source_prompt"}
    with pytest.raises(ValidationError, match="different ones of whole, edited"):
        ClipText(regions=("background",))
    with pytest.raises(ValidationError, match="different ones"):
        Psnr(regions=("whole", "whole"))
    with pytest.raises(InvalidInputError, match="'e0' has no mask"):
        measured(Psnr(regions=("edited",)), edit(mask=False))
    with pytest.raises(InvalidInputError, match=r"its mask has \(9, 9\) pixels"):
        measured(Psnr(regions=("edited",)), with_mask(edit(), np.ones((9, 9), dtype=bool)))
    with pytest.raises(InvalidInputError, match="needs pictures of at least 32x32"):
        measured(LPIPS[0], edit((31, 40)))


LPIPS = []


@pytest.fixture(autouse=True)
def _lpips(tiny):
    LPIPS[:] = [Lpips(net="squeeze", weights=str(tiny["lpips"]))]


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (
            ClipText(model="openai/clip-nowhere"),
            "Get it by `hf download openai/clip-nowhere`, or give the folder where it is.",
        ),
        (
            ClipText(model="/no/such/folder"),
            "'/no/such/folder' is neither a folder with config.json nor in the hub's cache",
        ),
        (StructureDistance(), "hf download facebook/dino-vitb8"),
        (PieV1(clip="{clip}"), "`dino` 'facebook/dino-vitb8' is neither"),
        (
            PieV1(clip="{clip}", dino="{dino}", squeezenet="{clip}"),
            "`squeezenet` must be a folder with one file squeezenet",
        ),
        (Lpips(net="vgg", weights="{lpips}"), "`torchvision.models.vgg16(weights='DEFAULT')` downloads it"),
        (ClipText(model="{dino}"), "must be a model of type clip (got 'vit')"),
        (Dinov2(model="{dino}"), "must be a model of type dinov2 or dinov2_with_registers (got 'vit')"),
    ],
)
def test_a_missing_network_is_refused_by_the_check(tiny, metric, says):
    for name, folder in tiny.items():
        metric = type(metric)(
            **{k: v.replace(f"{{{name}}}", str(folder)) if isinstance(v, str) else v for k, v in metric}
        )
    with pytest.raises(InvalidInputError) as error:
        metric.check()
    assert says in str(error.value)
    with pytest.raises(InvalidInputError):
        _ = metric.revision


def test_a_network_without_weights_or_of_a_damaged_file(tmp_path, tiny):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text((tiny["clip"] / "config.json").read_text())
    with pytest.raises(InvalidInputError, match="has no weights"):
        ClipText(model=str(bare)).check()
    (tmp_path / networks.FILES["alex"]).write_bytes(b"PK")
    with pytest.raises(InvalidInputError, match="is damaged, or no file of torchvision's alexnet"):
        Lpips(weights=str(tmp_path)).load(CPU)


def test_a_model_that_lacks_weights_is_refused(tmp_path, capfd):
    """Transformers would draw them at random, with a note."""
    from safetensors.torch import load_file, save_file

    networks.clip(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["text_projection.weight"]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InvalidInputError, match=r"lacks 1 of its weights, text_projection\.weight first"):
        ClipText(model=str(tmp_path)).load(CPU)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    capfd.readouterr()
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        ClipText(model=str(tmp_path)).load(CPU)
    assert capfd.readouterr().err == ""


def test_a_check_loads_nothing(tiny, monkeypatch):
    monkeypatch.setattr(torch, "load", None)
    monkeypatch.setattr("transformers.CLIPModel.from_pretrained", None)
    for metric in metrics(tiny):
        metric.check()
        assert len(metric.revision) in (0, 16)


def test_the_revision_is_that_of_the_weights(tmp_path, tiny):
    for name, seed in (("same", 7), ("other", 5)):
        (tmp_path / name).mkdir()
        networks.clip(tmp_path / name, seed=seed)
    assert folder_revision(tmp_path / "same") == folder_revision(tiny["clip"]) != folder_revision(tmp_path / "other")


def test_networks_are_loaded_once(tiny):
    from headrouter_metrics.networks.clip import load_clip

    first = load_clip(tiny["clip"], CPU)
    assert load_clip(tiny["clip"], CPU) is first


def test_a_model_in_the_hubs_cache(tiny, tmp_path, monkeypatch):
    snapshot = tmp_path / "models--acme--clip" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for file in tiny["clip"].iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    (tmp_path / "models--acme--clip" / "refs").mkdir()
    (tmp_path / "models--acme--clip" / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    assert measured(ClipText(model="acme/clip"), edit()) == measured(ClipText(model=str(tiny["clip"])), edit())
