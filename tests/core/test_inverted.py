"""Kept inversions: what is in the file, what it serves, and everything it is refused for."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from headrouter_inversions.euler import Euler
from headrouter_inversions.rf import RFInversion
from headrouter_inversions.rf_sde import RFInversionSDE
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from headrouter import plugins
from headrouter.editing.editor import Editor
from headrouter.editing.inverted_latents import InvertedLatents
from headrouter.editing.record import Record
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.plugins.specifications import Preset, hookimpl
from headrouter.testing.toy import ToyMMDiT

PICTURE = Image.fromarray((np.random.default_rng(0).random((30, 46, 3)) * 255).astype(np.uint8))


def editor(inversion: Any = "rf") -> Editor:
    return Editor(ToyMMDiT(), inversion, progress=False)


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return editor().invert(PICTURE, "a red cat", seed=2).save(tmp_path / "cat.safetensors")


def test_a_file_serves_as_the_inversion_itself(kept: Path) -> None:
    direct = editor().edit(PICTURE, "a blue dog", "a red cat", seed=2)
    for given in (kept, str(kept), InvertedLatents.load(kept)):
        edit = editor().edit(PICTURE, "a blue dog", "a red cat", seed=2, start=given)
        assert np.array_equal(pixels(direct.image), pixels(edit.image))
        assert edit.cost.calls == direct.cost.calls // 2
        assert np.array_equal(pixels(direct.reconstruction), pixels(edit.reconstruction))


def test_a_file_holds_latents_identity_and_cost(kept: Path) -> None:
    loaded, made = InvertedLatents.load(kept), editor().invert(PICTURE, "a red cat", seed=2)
    assert torch.equal(loaded.latents, made.latents) and loaded.latents.dtype == torch.float32
    assert loaded.identity == made.identity and loaded.cost.calls == made.cost.calls == 8
    assert sorted(path.name for path in kept.parent.iterdir()) == [kept.name], "no unfinished file is left"
    assert loaded.identity.inversion.parameters == {"gamma": 0.5, "told": "target"}
    assert set(loaded.identity.code) == {"headrouter"}, "libraries are left out: other builds of them serve too"


def test_what_only_sampling_sees_may_change(kept: Path) -> None:
    """η, its window, guidance, prompts, method and preset of the edit; and the source prompt, which rf inverts without."""
    free = RFInversion(eta=0.3, start=1, stop=0.9, decay=1.0, steps=8, guidance=5.0)
    reference = editor(free).edit(PICTURE, "two dogs", "a grey cat", seed=2)
    with pytest.warns(DeprecationWarning, match="`inversion` of Editor.edit is `start` now"):
        editor(free).edit(PICTURE, "two dogs", "a grey cat", seed=2, inversion=kept)
    shared = editor(free).edit(PICTURE, "two dogs", "a grey cat", seed=2, start=kept)
    assert np.array_equal(pixels(reference.image), pixels(shared.image))
    assert shared.record.edit.guidance == 5.0
    editor().edit(PICTURE, "a dog", seed=2, keep=0.1, guidance=2.0, preset="age", negative_prompt="grey", start=kept)


OTHERS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "seed": ("rf", {"seed": 3}, r"by its seed \(2, here 3\)"),
    "steps": ("rf", {"steps": 5}, r"by its steps \(8, here 5\)"),
    "size": ("rf", {"size": (24, 16)}, r"by its size \(\[40, 24\], here \[24, 16\]\)"),
    "gamma": (RFInversion(gamma=0.25), {}, r"by its inversion\.gamma \(0\.5, here 0\.25\)"),
    "told": (RFInversion(told="current"), {}, r"by its inversion\.told \('target', here 'current'\)"),
    "inversion": (RFInversionSDE(), {}, r"by its inversion \('rf', here 'rf-sde'\)"),
    "prompt": ("euler", {}, r"by its inversion .* inversion\.gamma .* source prompt"),
    "picture": ("rf", {"image": PICTURE.transpose(Image.Transpose.FLIP_TOP_BOTTOM)}, "by its picture; invert"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_inversion_is_refused_naming_what_differs(case: str, kept: Path) -> None:
    inversion, values, message = OTHERS[case]
    given = {"image": PICTURE, "prompt": "a dog", "source_prompt": "a cat", "seed": 2, **values}
    with pytest.raises(InvalidInputError, match=message):
        editor(inversion).edit(**given, start=kept)


def test_the_source_prompt_counts_where_the_inversion_sees_it(tmp_path: Path) -> None:
    path = editor("euler").invert(PICTURE, "a red cat").save(tmp_path / "x.safetensors")
    editor(Euler()).edit(PICTURE, "a dog", "a red cat", start=path)
    with pytest.raises(InvalidInputError, match=r"by its source prompt \('a red cat', here 'a cat'\)"):
        editor("euler").edit(PICTURE, "a dog", "a cat", start=path)


def test_another_model_and_version_are_refused(kept: Path) -> None:
    loaded = InvertedLatents.load(kept)
    plain = loaded.identity.plain()
    headrouter = {"version": "0.0.9", "source": plain["code"]["headrouter"]["source"]}
    for name, change in (
        ("backbone", {"class": "other"}),
        ("code.headrouter.version", {"headrouter": headrouter}),
    ):
        kind = name.split(".")[0]
        other = replace(loaded, identity=Record.model_validate({**plain, kind: {**plain[kind], **change}}))
        with pytest.raises(InvalidInputError, match=rf"by its {name} \('(other|0\.0\.9)', here '.*'\); invert"):
            editor().edit(PICTURE, "a dog", seed=2, start=other)


def test_an_inversion_that_starts_from_the_picture_takes_none(kept: Path) -> None:
    with pytest.raises(IncompatibleError, match="'sdedit' starts from no inversion"):
        editor("sdedit").edit(PICTURE, "a dog", seed=2, start=kept)


def _rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    with safe_open(path, framework="pt") as file:
        latents, record = file.get_tensor("latents"), json.loads(file.metadata()["headrouter"])
    changed = change(record)
    save_file({"latents": latents}, path, {"headrouter": json.dumps(record if changed is None else changed)})


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "gone": (lambda path: path.unlink(), "is not a file"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is not a file"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged or no safetensors file"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-7]), "is damaged or no safetensors file"),
    "a picture": (lambda path: PICTURE.save(path, format="PNG"), "is damaged or no safetensors file"),
    "a bit": (_flip, "its latents are not those that were written"),
    "weights": (lambda path: save_file({"w": torch.zeros(2)}, path), "something else than a kept inversion"),
    "no latents": (
        lambda path: save_file({"w": torch.zeros(2)}, path, {"headrouter": "{}"}),
        "something else than a kept inversion",
    ),
    "no JSON": (lambda path: save_file({"latents": torch.zeros(2)}, path, {"headrouter": "{"}), "in its metadata"),
    "a list": (lambda path: _rewrite(path, lambda record: [record]), "in its metadata"),
    "no identity": (lambda path: _rewrite(path, lambda record: record.pop("identity") and None), "in its metadata"),
    "identity of text": (lambda path: _rewrite(path, lambda r: r.update(identity="abc")), "in its metadata"),
    "cost of others": (lambda path: _rewrite(path, lambda r: r.update(cost={"x": 1})), "in its metadata"),
    "a later format": (
        lambda path: _rewrite(path, lambda r: r.update(format=9)),
        "has format 9, this headrouter reads",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_file_is_refused_in_a_sentence_before_the_model_runs(
    case: str, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage, message = DAMAGE[case]
    damage(kept)
    tool = editor()
    monkeypatch.setattr(ToyMMDiT, "encode_prompts", lambda *_: pytest.fail("the model ran"))
    with pytest.raises(InvalidInputError, match=message) as refused:
        tool.edit(PICTURE, "a dog", seed=2, start=kept)
    assert str(kept) in str(refused.value)


def test_where_it_cannot_be_written(kept: Path, tmp_path: Path) -> None:
    loaded = InvertedLatents.load(kept)
    with pytest.raises(InvalidInputError, match=r"must end in \.safetensors"):
        loaded.save(tmp_path / "x.pt")
    with pytest.raises(InvalidInputError, match="cannot write"):
        loaded.save(tmp_path / "nowhere" / "x.safetensors")
    before = kept.read_bytes()
    loaded.save(kept)
    assert kept.read_bytes() == before, "written again, the same file"


def test_parameters_of_the_model_count_and_those_of_the_machine_do_not(tmp_path: Path) -> None:
    """A Flux model told its guidance inverts otherwise than one that evaluates twice."""
    from headrouter_diffusers.testing import tiny_flux
    from headrouter_flux.parameters import FluxParameters

    tiny_flux().save_pretrained(tmp_path / "flux")

    def flux(**values: Any) -> Editor:
        return Editor(FluxParameters(**values), "euler", None, model=str(tmp_path / "flux"), progress=False)

    given: dict[str, Any] = {"size": (48, 32), "steps": 2}
    path = flux().invert(PICTURE, **given).save(tmp_path / "x.safetensors")
    flux(device="cpu", dtype="float32").edit(PICTURE, "a dog", start=path, **given)
    with pytest.raises(InvalidInputError, match=r"by its backbone\.guidance_kind \('auto', here 'two-pass'\)"):
        flux(guidance_kind="two-pass").edit(PICTURE, "a dog", start=path, **given)


@pytest.mark.parametrize(
    ("inversion", "options", "named"),
    [
        ("rf", {"keep": 0.5}, r"`keep` 0.5 would have no effect: `inversion` 'rf' inverts without it"),
        ("rf", {"preset": "age"}, r"`preset` 'age' would have no effect: `inversion` 'rf' inverts without it"),
        ("rf-sde", {"keep": 0.5}, "`keep` 0.5 would have no effect"),
        ("euler", {"preset": "drawn"}, "`preset` 'drawn' would have no effect"),
    ],
)
def test_what_an_inversion_does_not_depend_on_is_refused(inversion: str, options: dict[str, Any], named: str) -> None:
    with pytest.raises(IncompatibleError, match=named):
        editor(inversion).invert(PICTURE, "a cat", **options)


def test_a_preset_of_methods_alone_is_refused_in_a_reconstruction() -> None:
    with pytest.raises(IncompatibleError, match=r"`preset` 'drawn' would have no effect: .* is sampled without it"):
        editor("euler").reconstruct(PICTURE, "a cat", preset="drawn", steps=2)
    editor("rf").reconstruct(PICTURE, "a cat", preset="age", keep=0.5, steps=2)


class _Noise:
    """A preset with a value that inversions depend on."""

    headrouter_api = 1

    @hookimpl
    def register_presets(self, register: Callable[[Preset], None]) -> None:
        register(Preset("noise", ("inversion", "rf"), 28, {"gamma": 0.25, "eta": 0.5}, "a test"))


def test_a_preset_that_acts_on_the_inversion_is_taken() -> None:
    plugins.register(_Noise(), name="noise")
    try:
        kept = editor("rf").invert(PICTURE, preset="noise", steps=2)
        assert kept.identity.inversion.parameters["gamma"] == 0.25
        assert not torch.equal(kept.latents, editor("rf").invert(PICTURE, steps=2).latents)
        with pytest.raises(IncompatibleError, match="`preset` 'noise' would have no effect"):
            editor(RFInversion(gamma=0.5)).invert(PICTURE, preset="noise", steps=2)
    finally:
        plugins.reload()
