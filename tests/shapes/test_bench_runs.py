"""The benchmark on the bundled model, with few steps: what is run, kept, continued and refused."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headrouter_shapes.bench import cases, configure, read_study, records, run, running
from headrouter_shapes.bench.batch import edit_batch
from headrouter_shapes.bench.records import Row
from headrouter_shapes.bench.report import summarise
from headrouter_shapes.bench.sets import KINDS, chosen_cases
from headrouter_shapes.bench.study import SHIPPED
from headrouter_shapes.claim import claimed
from headrouter_shapes.world.render import render
from PIL import Image, ImageColor

from headrouter import Editor
from headrouter.cli import main
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.methods.head_router.method import HeadRouter
from headrouter.models.backbone import Backbone
from headrouter.plugins.code import Code

STEPS = 3


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Editor("sd3.5", "euler", None, model="shapes", device="cpu", dtype="float32", progress=False).backbone


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model may be loaded."""

    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(running, "backbone_of", load)


@pytest.mark.parametrize(
    ("inversion", "method"), [("euler", None), ("rf", "headrouter"), ("flowedit", "headrouter"), ("sdedit", None)]
)
def test_a_batch_does_what_the_editor_does(inversion: str, method: str | None, backbone: Backbone) -> None:
    some = [*cases("tune", 4)[1:3], cases("tune", 6)[5]]
    configuration = configure("one", "sd3.5", inversion, method, steps=STEPS, seed=3)
    pictures, spent = edit_batch(backbone, configuration, some, {})
    editor = Editor(backbone, inversion, method, progress=False)
    for case, picture in zip(some, pictures, strict=True):
        seed = case.seed(3)
        result = editor.edit(
            render(case.source), case.prompt, case.source_prompt, steps=STEPS, seed=seed, maps=False, size=(64, 64)
        )
        assert np.abs(np.asarray(result.image).astype(int) - picture).max() <= 1
        assert result.cost.calls == spent.calls and result.cost.rows >= spent.rows > 0


def test_an_inversion_is_shared_by_what_it_does_not_depend_on(backbone: Backbone) -> None:
    some, kept = cases("tune", 2), {}  # type: ignore[var-annotated]
    for eta, expected in ((0.9, 1), (0.5, 1)):
        first = configure("one", inversion="rf", method=None, steps=STEPS, keep=eta)
        pictures, spent = edit_batch(backbone, first, some, kept)
        alone, also = edit_batch(backbone, first, some, {})
        assert len(kept) == expected and np.array_equal(pictures, alone)
        assert (spent.calls, spent.rows) == (also.calls, also.rows)
    edit_batch(backbone, configure("one", inversion="rf", method=None, steps=STEPS, seed=1), some, kept)
    edit_batch(backbone, configure("one", inversion="euler", method=None, steps=STEPS), some, kept)
    assert len(kept) == 3


STUDY = """
configurations:
  - {name: plain, inversion: euler, method: none}
  - name: steered
    inversion: {name: rf, stop: 1}
    method: [{name: headrouter, rho: 0.0}]
    sweep: {method.0.gamma: [0.2]}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Eight edits by two configurations and the references, from the command line, with two workers."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "study.yaml").write_text(STUDY)
    assert main(command(folder, "--workers", 2)) == 0
    yield folder


def command(folder: Path, *more: Any) -> list[str]:
    fixed = ["--config", folder / "study.yaml", "--size", 8, "--param", f"steps={STEPS}", "--no-progress"]
    return list(map(str, ["bench", "shapes", "--out", folder / "out", *fixed, *more]))


def rows_of(folder: Path, name: str) -> list[Row]:
    path = folder / "out/tune/sd3.5" / name / "results.jsonl"
    return sorted(map(Row.read, path.read_text().splitlines()), key=lambda row: row.case)


def test_every_edit_leaves_a_line_and_a_picture(done: Path) -> None:
    for name in ("plain", "steered-gamma=0.2", "reference-source", "reference-target"):
        rows = rows_of(done, name)
        assert [row.case for row in rows] == list(range(8)) and {row.set for row in rows} == {"tune"}
        folder = done / "out/tune/sd3.5" / name
        record = json.loads((folder / "configuration.json").read_text())
        assert {row.hash for row in rows} == {record["hash"]} and record["record"]["code"]["headrouter"]["version"]
        assert len(list((folder / "pictures").iterdir())) == 8
        with Image.open(folder / "sheet.png") as sheet:
            assert sheet.size == (84 + 134, 28 + 8 * (28 + 3 * 128 + 6))
    assert record["record"]["inversion"] == {"name": "reference", "picture": "target"}
    assert rows_of(done, "steered-gamma=0.2")[0].spent.calls == 2 * STEPS
    assert rows_of(done, "steered-gamma=0.2")[0].spent.rows == STEPS * (1 / 4 + 2 + 2 / 4)


def test_the_references_bound_what_an_edit_can_reach(done: Path) -> None:
    source, generation, target = (
        summarise(rows_of(done, name))[0] for name in ("reference-source", "plain", "reference-target")
    )
    assert source.success.value == 0 < generation.success.value < target.success.value == 1
    assert max(source.truth.value, generation.truth.value) < target.truth.value
    assert (source.preservation.value, source.others_unchanged.value, target.others_unchanged.value) == (99, 1, 1)
    assert 33 < target.preservation.value < 60


def test_plain_generation_is_a_reference_unless_it_is_there_already() -> None:
    steered, plain = configure("a", method="headrouter", guidance=5), configure("b", "sd3.5", "euler", "none")
    other = configure("c", method="headrouter", guidance=5, steps=9)
    assert [one.name for one in running.references([steered, other, plain])] == [
        "reference source",
        "reference generation guidance=5 steps=9",
        "reference generation guidance=5 steps=28",
        "reference target",
    ]


def test_each_backbone_has_references_of_its_own() -> None:
    """SD3 and SD3.5 are loaded with the same parameters; they are two models all the same."""
    both = [configure(name, name, "euler", None, model="somebody/weights") for name in ("sd3", "sd3.5")]
    assert [one.backbone_name for one in running.references(both)] == ["sd3", "sd3", "sd3.5", "sd3.5"]


def test_the_table_and_the_plot_are_written(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (done / "out/tune/table.md").read_text()
    assert (
        "## sd3.5, 8 edits" in text and "| 4 | steered gamma=0.2 |" in text and "| # | configuration | shape |" in text
    )
    with Image.open(done / "out/tune/summary.png") as plot:
        assert plot.width > 500
    with Image.open(done / "out/tune/edits-sd3.5.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape[0] == 28 + 6 + 4 * 140  # source, two configurations, truth
    wide = pixels.shape[1] - 8 * 140
    for number, name in enumerate(("plain", "steered-gamma=0.2"), 1):
        for column, row in enumerate(sorted(rows_of(done, name), key=lambda row: KINDS.index(row.kind))):
            frame = ImageColor.getrgb("darkgreen" if row.measures.success else "firebrick")
            assert tuple(pixels[28 + 6 + number * 140 - 2, wide + column * 140 + 64]) == frame
            with Image.open(done / f"out/tune/sd3.5/{name}/pictures/{row.case:03d}.png") as picture:
                assert tuple(pixels[34 + number * 140 + 64, wide + column * 140 + 64]) == picture.getpixel((32, 32))
    assert main(command(done)) == 0  # all is there: no model is needed
    assert "steered gamma=0.2" in capsys.readouterr().out
    assert "edit by edit" not in text


@pytest.mark.usefixtures("unloaded")
def test_kinds_of_edit_can_be_chosen(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = copied(done, tmp_path)
    assert main([*command(folder), "--kind", "shape", "--kind", "style"]) == 0
    text = (folder / "out/tune/table.md").read_text()
    assert "## sd3.5, 2 edits" in text and "2 edits of the set tune" in capsys.readouterr().out
    assert [case.kind for case in chosen_cases("tune", 8, ["style", "shape"])] == ["shape", "style"]
    assert main([*command(folder), "--kind", "mood"]) == 2
    assert "mood do not exist; choose from shape, colour" in capsys.readouterr().err
    with pytest.raises(InvalidInputError, match="the first 4 edits have none of them"):
        chosen_cases("tune", 4, ["style"])


@pytest.mark.usefixtures("unloaded")
def test_configurations_are_compared_with_one_of_them(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = copied(done, tmp_path)
    assert main([*command(folder), "--against", "plain"]) == 0
    text = (folder / "out/tune/table.md").read_text()
    _, _, compared = text.partition("Against plain, edit by edit, sd3.5")
    assert "| steered gamma=0.2 |" in compared and "| plain |" not in compared
    assert "against plain, edit by edit" in capsys.readouterr().out
    assert main([*command(folder), "--against", "steered"]) == 2
    assert "none of the configurations of sd3.5: plain, steered gamma=0.2" in capsys.readouterr().err


@pytest.mark.usefixtures("unloaded")
def test_what_is_done_is_not_done_again(done: Path) -> None:
    before = {path: path.read_bytes() for path in done.rglob("*.jsonl")}
    assert main(command(done)) == 0
    assert {path: path.read_bytes() for path in done.rglob("*.jsonl")} == before


def copied(done: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the results, and its file of the plain configuration."""
    for path in done.rglob("*"):
        if path.is_file():
            place = tmp_path / path.relative_to(done)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return tmp_path, tmp_path / "out/tune/sd3.5/plain/results.jsonl"


def test_an_interrupted_run_continues(done: Path, tmp_path: Path) -> None:
    folder, path = copied(done, tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5]) + lines[5][:-40])
    assert main(command(folder)) == 0
    assert path.read_text().splitlines(keepends=True)[:5] == lines[:5]
    before, after = rows_of(done, "plain"), rows_of(folder, "plain")
    assert [row.case for row in after] == [row.case for row in before]
    assert all(abs(a.measures.truth - b.measures.truth) < 0.1 for a, b in zip(after, before, strict=True))


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("harm", ["contradiction", "other", "nonsense", "configuration", "alone"])
def test_a_damaged_file_is_reported_and_left_alone(
    harm: str, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, path = copied(done, tmp_path)
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    damaged = {
        "contradiction": text
        + lines[2].replace('"success": ', '"success": 1').replace("1true", "false").replace("1false", "true"),
        "other": text.replace(rows_of(done, "plain")[3].hash, "0" * 16, 1),
        "nonsense": "".join([*lines[:4], "[1, 2]\n", *lines[4:]]),
    }
    path.write_text(damaged.get(harm, text))
    record = path.with_name("configuration.json")
    if harm == "configuration":
        record.write_text("{")
    if harm == "alone":
        record.unlink()
    before = path.read_bytes()
    assert main(command(folder)) == 2
    said = capsys.readouterr().err
    line = {"contradiction": 9, "other": 1, "nonsense": 5}.get(harm)
    assert (f"{path}:{line}: damaged line" in said) if line else ("configuration.json" in said)
    assert path.read_bytes() == before


@pytest.mark.usefixtures("unloaded")
def test_another_configuration_of_the_same_name_is_refused(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = copied(done, tmp_path)
    assert main(command(folder, "--param", "guidance=4.0", "--only", "plain")) == 2
    assert "another configuration named 'plain': guidance (3.0, here 4.0)" in capsys.readouterr().err


WRONG = {
    "configurations:\n  - {name: a, inversion: {name: rf, eta: 3}}": r"x.yaml:2:42: configuration 'a', `inversion.eta`",
    "configurations:\n  - {name: a, inversion: {name: rf, ета: 1}}": r"x.yaml:2:37: configuration 'a', .*unknown name",
    "configurations:\n  - name: a\n    inversion: rf\n    sweep:\n      inversion.eta: [0.5, 3]": (
        r"x.yaml:5:28: configuration 'a eta=3', `inversion.eta`.*\(got 3\)"
    ),
    "configurations:\n  - {name: a, method: [none, {name: headrouter, gama: 1}]}": (
        r"x.yaml:2:49: configuration 'a', `method.1.gama`: unknown name .*Did you mean `gamma`"
    ),
    "configurations:\n  - {name: a, method: heads}": r"x.yaml:2:5: configuration 'a': .*heads",
    "configurations:\n  - {name: a, stepps: 4}": r"x.yaml:2:15: configuration 'a', `stepps`: unknown name",
    "configurations:\n  - {name: a, preset: glasses, inversion: euler}": r"x.yaml:2:5: configuration 'a': `preset`",
    "configurations:\n  - {name: a, sweep: {steps: 4}}": r"x.yaml:2:22: configuration 'a', `sweep`",
    "configurations:\n  - {inversion: rf}": r"x.yaml:2:5: a configuration must be a mapping with a `name`",
    "configurations:\n  - {name: a, backbone: flux}": r"x.yaml:2:15: `backbone` belongs at the top",
    "configurations:\n  - {name: a}\n  - {name: a, steps: 4}": r"'a' stands for two configurations",
    "configuration: []\nconfigurations: [{name: a}]": r"x.yaml:1:1: `configuration`: unknown name",
    "configurations:\n  - {name: ..}": r"x.yaml:2:5: configuration '..': `name` '..' cannot name a folder",
    "configurations: []": r"must be a mapping with a list of `configurations`",
    "backbone: {name: sd3.5, device: cpu}\nconfigurations: [{name: a}]": r"'a': `backbone.device` is no part of a",
    "backbone: sd4\nconfigurations: [{name: a}]": r"configuration 'a': .*sd4",
}


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_in_a_study_is_said_with_its_place(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=WRONG[text]):
        read_study(tmp_path / "x.yaml")


def test_a_study_of_more_than_anybody_runs_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    many = list(range(1, 1001))
    path.write_text(f"configurations:\n  - {{name: a, sweep: {{steps: {many}, seed: {many}}}}}")
    with pytest.raises(
        InvalidInputError, match=r"x.yaml:2:15: configuration 'a', `sweep`: 1000000 combinations are more"
    ):
        read_study(path)
    path.write_text(f"configurations:\n  - {{name: a, sweep: {{seed: {many[:501]}}}}}")
    with pytest.raises(InvalidInputError, match=r"x.yaml:2:5: a study may have 1000 configurations.* it has 1002"):
        read_study(path, ["sd3", "sd3.5"])


@pytest.mark.usefixtures("unloaded")
def test_one_run_at_a_time_writes_to_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    with claimed(tmp_path / "out"), ThreadPoolExecutor() as others:
        arguments = ["bench", "shapes", "--out", str(tmp_path / "out"), "--no-progress"]
        assert others.submit(main, arguments).result() == 2
        assert "is in use by another run. Wait until it ends" in capsys.readouterr().err
        with pytest.raises(InvalidInputError, match="is in use by another run"):
            others.submit(run, [configure("a")], tmp_path / "out").result()
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.usefixtures("unloaded")
def test_results_of_other_code_are_refused(
    done: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = json.loads((done / "out/tune/sd3.5/plain/configuration.json").read_text())
    now = {"torch": {"version": "9.9"}, "headrouter": {"version": "0.1.0", "source": "0123456789ab"}}
    here = {name: Code(**found) for name, found in (theirs["record"]["code"] | now).items()}
    monkeypatch.setattr("headrouter.editing.record.code_of", lambda _: here)
    monkeypatch.setattr(records, "commit", lambda: "0a1b2c3d")
    before = {path: path.read_bytes() for path in done.rglob("*.jsonl")}
    assert main(command(done, "--only", "plain", "--no-references")) == 2
    source = theirs["record"]["code"]["headrouter"]["source"]
    said = capsys.readouterr().err
    assert (
        f"holds results of other code: code.torch.version ('{theirs['record']['code']['torch']['version']}', here '9.9')"
        in said
    )
    assert (
        f"code.headrouter.source ('{source}', here '0123456789ab'); commit " in said
        and "here 0a1b2c3d. Choose another" in said
    )
    assert {path: path.read_bytes() for path in done.rglob("*.jsonl")} == before


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("configurations:\n  - {name: a, steps: 0}\n  - {name: b, method: heads, keep: 2}")
    with pytest.raises(InvalidInputError, match=r"(?s)'a', `steps`.*'b'"):
        read_study(tmp_path / "x.yaml")


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "backbone: [sd3.5, {name: flux, guidance_kind: two-pass}]\n"
        "model: somebody/weights\n"
        "configurations:\n"
        "  - name: rf\n"
        "    sweep:\n"
        "      inversion.eta: [0.5, 1.0]\n"
        "      method: [none, {name: headrouter, gamma: 0.3}]\n"
    )
    found = read_study(tmp_path / "x.yaml")
    names = [f"rf eta={eta} method={method}" for eta in (0.5, 1.0) for method in ("none", "headrouter(gamma=0.3)")]
    assert [(one.backbone_name, one.name) for one in found] == [(b, name) for b in ("sd3.5", "flux") for name in names]
    assert [one.inversion.model_dump()["eta"] for one in found[:4]] == [0.5, 0.5, 1.0, 1.0]
    assert found[0].methods == () and found[1].methods == (HeadRouter(gamma=0.3),)
    assert [one.backbone_name for one in read_study(tmp_path / "x.yaml", ["sd3"])] == ["sd3"] * 4


def test_the_hash_is_of_what_matters() -> None:
    plain = configure("a", inversion="rf", steps=28)
    assert plain.hash == configure("b", inversion="rf").hash  # 28 steps and guidance 3 are the model's own
    assert plain.hash == configure("a", inversion="rf", guidance=3.0).hash
    assert len({plain.hash, *(configure("a", **knob).hash for knob in KNOBS)}) == 1 + len(KNOBS)
    preset = configure("a", inversion="rf", preset="stylization")
    assert (preset.inversion.model_dump()["stop"], preset.inversion.model_dump()["eta"]) == (6, 0.9)


KNOBS: list[dict[str, Any]] = [
    {"seed": 1},
    {"steps": 20},
    {"guidance": 2},
    {"keep": 0.5},
    {"push": 1.0},
    {"inversion": "euler"},
    {"method": None},
    {"backbone": "sd3", "model": "medium"},
]


@pytest.mark.parametrize("study", sorted(file.stem for file in SHIPPED.glob("*.yaml")))
def test_the_studies_that_come_with_the_package_run(
    study: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", study, "--size", 1, "--param", "steps=6", "--out", tmp_path, "--no-progress"]
    assert main(list(map(str, ["bench", "shapes", *arguments, "--no-references"]))) == 0
    shown = capfd.readouterr().out
    assert all(one.name in shown for one in read_study(study))


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "parts", "--steps", "4"], "leave out --steps"),
        (["--config", "nowhere.yaml"], "cannot read 'nowhere.yaml'"),
        (["--config", "parts", "--only", "sde*"], "`--only` fits none of the configurations: euler, rf"),
        (["--size", "some"], "`--size` must be quick, full or a number"),
        (["--size", "500"], "`count` must be between 1 and 400"),
        (["--set", "train"], "`set` must be one of tune, test"),
        (["--name", ".."], "`name` '..' cannot name a folder for results"),
        (["--workers", "0"], "`workers` must be at least 1"),
        (["--batch", "0"], "`batch` must be at least 1"),
        (["--inversion", "euler", "--keep", "0.5"], "`keep` has no meaning here"),
        (["--param", "gamma"], "`--param` takes NAME=VALUE"),
        (["--param", "method.gamma=-1"], "--param method.gamma: `method.gamma`"),
    ],
)
def test_a_command_that_cannot_be_met_is_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "shapes", "--out", str(tmp_path), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_results_come_back_in_order(done: Path) -> None:
    chosen = read_study(done / "study.yaml")
    with pytest.raises(HeadRouterError, match="another configuration"):  # 28 steps instead of 3
        run(chosen, done / "out", count=8)
