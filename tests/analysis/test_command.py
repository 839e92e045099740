"""``headrouter analyze``: what it writes, and what it refuses before a model is loaded."""

import csv
import json
from collections.abc import Iterator

import numpy as np
import pytest
from headrouter_analysis import command, figures
from headrouter_analysis.analyses.pairs import BUNDLED
from PIL import Image

from headrouter.cli import main
from headrouter.editing import assembly
from headrouter.models.backbone import Backbone
from headrouter.testing.toy import ToyMMDiT

PROMPT = "a red dog"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever model is asked for, it is the toy."""

    def loaded(*given: object, **values: object) -> tuple[Backbone, dict[str, object]]:
        return ToyMMDiT(), {}

    monkeypatch.setattr(assembly, "backbone_of", loaded)


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loading a model fails the test."""

    def loaded(*given: object, **values: object) -> None:
        pytest.fail("a model was loaded")

    monkeypatch.setattr(assembly, "backbone_of", loaded)
    yield


@pytest.fixture
def picture(tmp_path) -> str:
    Image.fromarray((np.random.default_rng(0).random((32, 32, 3)) * 255).astype(np.uint8)).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def run(*words: str) -> int:
    return main(["analyze", *words, "--no-progress"])


def size(path) -> tuple[int, int]:
    with Image.open(path) as shown:
        shown.load()
        return shown.size


@pytest.mark.parametrize("given", [True, False], ids=["picture", "generated"])
def test_maps(given, toy, picture, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    asked = ["maps", *([picture] if given else []), "--prompt", PROMPT, "--word", "red dog", "--word", "a"]
    assert run(*asked, "--per", "block", "--per", "head", "--steps", "2", "-o", str(out)) == 0
    data = json.loads((out / "maps.json").read_text())
    assert data["words"] == {"red dog": [1, 2], "a": [0]} and data["axes"] == {"block": [0, 1, 2], "head": [0, 1, 2, 3]}
    with np.load(out / "maps.npz") as numbers:
        assert numbers["maps"].shape == (2, 3, 4, 8, 8) and numbers["axes"].tolist() == [
            "word",
            "block",
            "head",
            "row",
            "column",
        ]
        assert 0 < numbers["maps"].min() < numbers["maps"].max() < 1
    share = data["text share by block"]
    assert all(0 < words < text < 1 for words, text in zip(share["these words"], share["all text tokens"], strict=True))
    assert len(share["mean token of a"]) == 3
    assert data["figures"] == ["maps-0-red-dog.png", "maps-1-a.png"]
    assert size(out / "maps-0-red-dog.png")[0] > 400 and size(out / "depth.png")[0] > 400
    assert all(str(out / name) in capsys.readouterr().out for name in ["maps.json"])
    assert not list(out.glob(".*")), "nothing half-written is left"


@pytest.mark.parametrize("per", [["step"], ["step", "block", "head"]])
def test_maps_of_every_word_by_step(per, toy, tmp_path) -> None:
    asked = [word for axis in per for word in ("--per", axis)]
    assert run("maps", "--prompt", PROMPT, *asked, "--direction", "I2T", "--steps", "2", "-o", str(tmp_path)) == 0
    with np.load(tmp_path / "maps.npz") as numbers:
        assert numbers["maps"].shape[:2] == (3, 2) and numbers["maps"].ndim == 3 + len(per)
    assert len(list(tmp_path.glob("maps-*.png"))) == 3


def test_a_recorded_command_makes_the_same_tables_again(toy, tmp_path) -> None:
    import shlex

    def tables(folder) -> tuple[dict, list]:
        data = json.loads((folder / "maps.json").read_text())
        with np.load(folder / "maps.npz") as numbers:
            return data, numbers["maps"].tolist()

    assert (
        run(
            "maps",
            "--prompt",
            PROMPT,
            "--word",
            "dog",
            "--blocks",
            "0",
            "2",
            "--steps",
            "2",
            "--seed",
            "3",
            "-o",
            str(tmp_path),
        )
        == 0
    )
    first, numbers = tables(tmp_path)
    words = shlex.split(first["command"])
    assert words[:2] == ["headrouter", "analyze"]
    assert main(words[1:]) == 0
    assert tables(tmp_path) == (first, numbers)


def test_blocks(toy, picture, tmp_path, capsys) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 4:24] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    entry = f"- {{image: photo.png, mask: mask.png, prompt: {PROMPT}, word: dog}}\n"
    (tmp_path / "list.yaml").write_text(entry * 3)
    out = tmp_path / "out"
    asked = ["blocks", "--data", str(tmp_path / "list.yaml"), "--steps", "2", "--top", "2", "-o", str(out)]
    assert run(*asked, "--threshold", "0.3") == 0
    data = json.loads((out / "blocks.json").read_text())
    scores = [score["auc"]["mean"] for score in data["scores"]]
    assert scores == sorted(scores, reverse=True) and data["blocks"] == [score["block"] for score in data["scores"]][:2]
    assert {"model", "command", "pictures", "headrouter"} <= set(data) and data["pictures"] == 3
    with (out / "blocks.csv").open() as file:
        assert [int(row["block"]) for row in csv.DictReader(file)] == [score["block"] for score in data["scores"]]
    assert size(out / "blocks.png")[0] > 300 and "block " in capsys.readouterr().out


def test_heads(toy, tmp_path, capsys) -> None:
    (tmp_path / "words.yaml").write_text("colour: [red, blue, green]\nthing: [dog, cat, car]\n")
    out = tmp_path / "out"
    asked = ["heads", "--vocabulary", str(tmp_path / "words.yaml"), "--pairs", "3", "--steps", "2", "-o", str(out)]
    assert run(*asked) == 0
    data = json.loads((out / "heads.json").read_text())
    assert list(data["semantics"]) == ["colour", "thing"] and data["pairs"] == 3
    assert np.shape(data["semantics"]["thing"]["mean"]) == (3, 4) and 0 <= data["specialisation"]["p"] <= 1
    with (out / "heads.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 4
    assert float(rows[-1]["mean"]) == data["semantics"]["thing"]["mean"][2][3]
    with (out / "pairs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6
    assert size(out / "heads.png")[0] > 300 and "moves most" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["maps", "--prompt", PROMPT, "--word", "cat"], "Its words: a, red, dog"),
        (["maps", "--prompt", "!"], "must have words"),
        (["maps", "--prompt", PROMPT, "nowhere.png"], "nowhere.png"),
        (["maps", "{picture}", "--prompt", PROMPT, "--guidance", "2"], "`--guidance` is for generated pictures"),
        (["maps", "--prompt", PROMPT, "--size", "big"], "`--size` must look like"),
        (["maps", "--prompt", PROMPT, "--seed", "-1"], "`--seed` must not be negative"),
        (["blocks"], "`--data` must name a list"),
        (["blocks", "--model", "shapes", "--pictures", "0"], "`--pictures` must be at least 1"),
        (["blocks", "--model", "shapes", "--threshold", "1.5"], "must lie between 0 and 1"),
        (["blocks", "--data", "{folder}/other.yaml"], "as large as its picture, 32x32"),
        (["blocks", "--data", "{folder}/word.yaml"], r"'cat' is not in the prompt 'a red dog'"),
        (["blocks", "--data", "{folder}/typo.yaml"], "Did you mean `mask`"),
        (["blocks", "--data", "{folder}/mapping.yaml"], "must be a list"),
        (["heads", "--vocabulary", "{folder}/mapping.yaml"], "at least two semantics"),
        (["heads", "--semantic", "smell"], "there are: object, shape, colour"),
        (["heads", "--model", "shapes", "--semantic", "smell"], "there are: shape, colour, texture"),
        (["heads", "--model", "shapes", "--form", "same_context"], "has the same context by itself"),
        (["heads", "--pairs", "0"], "`--pairs` must be at least 1"),
        (["drop", "--profile", "x.json"], "`--model` must be shapes"),
        (["drop", "--model", "shapes", "--profile", "{folder}/mapping.yaml"], "cannot be read"),
        (["routing", "--model", "shapes", "--profile", "{folder}/none.json"], "cannot read `profile`"),
    ],
)
def test_bad_input_is_refused_before_a_model_is_loaded(words, said, no_model, picture, tmp_path, capsys) -> None:
    Image.new("L", (16, 32)).save(tmp_path / "other.png")
    Image.fromarray(np.eye(32, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    good = {"image": "photo.png", "mask": "mask.png", "prompt": PROMPT, "word": "dog"}
    (tmp_path / "other.yaml").write_text(json.dumps([{**good, "mask": "other.png"}]))
    (tmp_path / "word.yaml").write_text(json.dumps([{**good, "word": "cat"}]))
    (tmp_path / "typo.yaml").write_text(json.dumps([{**good, "masc": "mask.png"}]))
    (tmp_path / "mapping.yaml").write_text("colour: [red, blue]\n")
    filled = [word.format(folder=tmp_path, picture=picture) for word in words]
    assert run(*filled, "-o", str(tmp_path / "out")) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["maps", "--prompt", PROMPT, "--blocks", "7"], "`blocks` [7] do not exist: the model has joint layers 0 to 2"),
        (["maps", "--prompt", PROMPT, "--heads", "9"], "`heads` [9] do not exist: the model has heads 0 to 3"),
        (["maps", "--prompt", PROMPT, "--size", "17x16"], "multiples of 4"),
        (["maps", "--prompt", PROMPT, "--per", "block", "--per", "head"], "block and head would draw 12 panels"),
        (["heads", "--steps", "0"], "`steps` must be at least 1"),
        (["heads", "--guidance", "0"], "`guidance` must be above 0"),
    ],
)
def test_what_the_model_does_not_have_is_refused_before_it_runs(words, said, monkeypatch, tmp_path, capsys) -> None:
    class Still(ToyMMDiT):
        def velocity(self, *given):
            pytest.fail("the model was run")

    monkeypatch.setattr(figures, "MOST_PANELS", 11)
    monkeypatch.setattr(assembly, "backbone_of", lambda *given, **values: (Still(), {}))
    assert run(*words, "-o", str(tmp_path)) == 2
    assert said in capsys.readouterr().err


def test_a_backbone_without_positions_of_words_is_refused(monkeypatch, capsys, tmp_path) -> None:
    from headrouter.plugins import registry

    spec = registry().backbone("sd3.5")
    monkeypatch.setattr(type(registry()), "backbone", lambda self, name: spec)
    object.__setattr__(spec, "provides", spec.provides - {"prompt-words"})
    try:
        assert run("maps", "--model", "shapes", "--prompt", PROMPT, "-o", str(tmp_path)) == 2
        assert "prompt-words" in capsys.readouterr().err
    finally:
        object.__setattr__(spec, "provides", spec.provides | {"prompt-words"})


@pytest.mark.parametrize("analysis", ["maps", "blocks", "heads", "drop", "routing"])
def test_help_has_an_example_and_every_file(analysis, capsys) -> None:
    assert main(["analyze", analysis, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"headrouter analyze {analysis}" in said and f"{analysis}.json" in said and "writes" in said
    assert command.DESCRIPTION.count(f"  {analysis} ") == 1


def test_the_bundled_words_are_where_they_are_said_to_be() -> None:
    assert BUNDLED.is_file()
