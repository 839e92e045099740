"""The benchmark of the drawn world: its studies, the command that runs them as experiments, and edits without a run folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headrouter_shapes.bench import cases, configure, edit_cases, experiment, read_study, run
from headrouter_shapes.bench.dataset import ShapesMetric
from headrouter_shapes.bench.sets import KINDS, chosen_cases
from headrouter_shapes.bench.study import SHIPPED, references
from headrouter_shapes.world.render import changed_region, render
from PIL import Image, ImageColor

from headrouter import Editor
from headrouter.cli import main
from headrouter.errors import InvalidInputError
from headrouter.experiments import read_experiment
from headrouter.experiments.metric import Measured
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.run_folder.reading import read_records
from headrouter.experiments.running import worker
from headrouter.methods.head_router.method import HeadRouter
from headrouter.models.backbone import Backbone

STEPS = 3


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Editor("sd3.5", "euler", None, model="shapes", device="cpu", dtype="float32", progress=False).backbone


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model may be loaded."""

    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("headrouter.editing.assembly.backbone_of", load)
    monkeypatch.setattr(worker, "backbone_of", load, raising=False)


@pytest.mark.parametrize(
    ("inversion", "method"), [("euler", None), ("rf", "headrouter"), ("flowedit", "headrouter"), ("sdedit", None)]
)
def test_a_batch_does_what_the_editor_does(inversion: str, method: str | None, backbone: Backbone) -> None:
    some = [*cases("tune", 4)[1:3], cases("tune", 6)[5]]
    configuration = configure("one", "sd3.5", inversion, method, steps=STEPS, seed=3)
    pictures, cost = edit_cases(backbone, configuration, some)
    editor = Editor(backbone, inversion, method, progress=False)
    for case, picture in zip(some, pictures, strict=True):
        seed = case.seed(3)
        result = editor.edit(
            render(case.source), case.prompt, case.source_prompt, steps=STEPS, seed=seed, maps=False, size=(64, 64)
        )
        assert np.abs(np.asarray(result.image).astype(int) - picture).max() <= 1
        assert result.cost.calls == cost.calls and 3 * result.cost.rows >= cost.rows > 0


def test_the_data_set_is_the_cases_and_the_metric_their_measures() -> None:
    (first, *_), items = cases("tune", 8), experiment([configure("a")], count=8).items
    assert [item.key for item in items] == [f"{number:03d}" for number in range(8)]
    assert [item.number for item in items] == [0] * 4 + [1] * 4 and items[0].prompt == first.prompt
    assert np.array_equal(items[0].mask(), changed_region(first.source, first.target))
    measure, source = ShapesMetric().load(None), items[0].picture()  # type: ignore[arg-type]
    truth = items[0].truth()
    assert truth is not None
    right, wrong = measure([Measured(items[0], source, picture) for picture in (truth, source)])
    assert (right["success"], right["truth"], wrong["success"], wrong["preservation"]) == (True, 99, False, 99)
    assert set(right) == set(ShapesMetric().columns)


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


def rows_of(folder: Path, name: str) -> list[CellRecord]:
    return sorted(
        (row for row in read_records(folder / "out/tune") if row.configuration == name), key=lambda row: row.item
    )


def test_every_edit_leaves_a_record_and_a_picture(done: Path) -> None:
    for name in ("plain", "steered gamma=0.2", "reference source", "reference target"):
        rows = rows_of(done, name)
        assert [row.item for row in rows] == [f"{number:03d}" for number in range(8)] and all(
            row.edited for row in rows
        )
        assert all(row.saved and (done / "out/tune" / row.saved.file).is_file() for row in rows)
    steered = rows_of(done, "steered gamma=0.2")[0].cost
    assert (steered.calls, steered.rows) == (2 * STEPS, STEPS * (1 / 4 + 2 + 2 / 4))


def test_the_references_bound_what_an_edit_can_reach(done: Path) -> None:
    def mean(name: str, column: str) -> float:
        values = [row.values[f"shapes-1.{column}"] for row in rows_of(done, name)]
        return float(np.mean([value for value in values if value is not None]))

    source, generation, target = "reference source", "plain", "reference target"
    assert mean(source, "success") == 0 < mean(generation, "success") < mean(target, "success") == 1
    assert max(mean(source, "truth"), mean(generation, "truth")) < mean(target, "truth")
    assert (mean(source, "preservation"), mean(source, "others_unchanged"), mean(target, "others_unchanged")) == (
        99,
        1,
        1,
    )
    assert 33 < mean(target, "preservation") < 60


def test_plain_generation_is_a_reference_unless_it_is_there_already() -> None:
    steered, plain = configure("a", method="headrouter", guidance=5), configure("b", "sd3.5", "euler", "none")
    other = configure("c", method="headrouter", guidance=5, steps=9)
    assert [one.name for one in references([steered, other, plain])] == [
        "reference source",
        "reference generation guidance=5 steps=9",
        "reference generation guidance=5 steps=28",
        "reference target",
    ]


def test_a_model_that_is_given_the_picture_has_no_generation_as_a_reference() -> None:
    plain = configure("a", "flux-kontext", "instruct", "none")
    assert [one.name for one in references([plain])] == ["reference source", "reference target"]


def test_what_is_left_out_suits_the_backbone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "shapes", "--list", "--out", str(tmp_path), "--backbone", "flux-kontext", "--backbone", "sd3.5"]
    assert main([*words, "--steps", "9"]) == 0
    listed = [line.rsplit("  ", 1)[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == ["flux-kontext  instruct none steps=9", "sd3.5  rf headrouter steps=9"]


def test_each_backbone_has_references_of_its_own() -> None:
    """SD3 and SD3.5 are loaded with the same parameters; they are two models all the same."""
    both = [configure(name, name, "euler", None, model="somebody/weights") for name in ("sd3", "sd3.5")]
    assert [one.backbone_name for one in references(both)] == ["sd3", "sd3", "sd3.5", "sd3.5"]


def test_the_table_the_plot_and_the_sheet_are_written(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (done / "out/tune/table.md").read_text()
    assert "## sd3.5, 8 edits" in text and "steered gamma=0.2 |" in text and "| # | configuration | shape |" in text
    assert "Minus" not in text
    with Image.open(done / "out/tune/summary.png") as plot:
        assert plot.width > 500
    with Image.open(done / "out/tune/edits-sd3.5.png") as sheet:
        pixels = np.asarray(sheet)
    names = list(dict.fromkeys(line.split(" | ")[1] for line in text.splitlines() if "| 3 |" in line and "[" in line))
    assert names and pixels.shape[0] == 3 * 14 + 6 + 6 * 140  # source, four configurations, truth
    wide, steered = pixels.shape[1] - 8 * 140, rows_of(done, "steered gamma=0.2")
    for column, row in enumerate(sorted(steered, key=lambda row: KINDS.index(row.kind))):
        frame = ImageColor.getrgb("darkgreen" if row.values["shapes-1.success"] else "firebrick")
        frames = {tuple(pixels[48 + line * 140 - 2, wide + column * 140 + 64]) for line in range(1, 5)}
        assert frame in frames
    assert main(command(done)) == 0  # all is there: no model is needed
    assert "steered gamma=0.2" in capsys.readouterr().out


@pytest.mark.usefixtures("unloaded")
def test_kinds_of_edit_can_be_chosen(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [case.kind for case in chosen_cases("tune", 8, ["style", "shape"])] == ["shape", "style"]
    assert main([*command(done), "--kind", "mood"]) == 2
    assert "mood do not exist; choose from shape, colour" in capsys.readouterr().err
    with pytest.raises(InvalidInputError, match="the first 4 edits have none of them"):
        chosen_cases("tune", 4, ["style"])


@pytest.mark.usefixtures("unloaded")
def test_configurations_are_compared_with_one_of_them(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command(done), "--against", "plain"]) == 0
    _, _, compared = (done / "out/tune/table.md").read_text().partition("Minus plain, edit by edit, sd3.5")
    assert "| steered gamma=0.2 |" in compared and "| plain |" not in compared
    assert "minus plain, edit by edit" in capsys.readouterr().out
    assert main([*command(done), "--against", "steered"]) == 2
    assert "none of the configurations of sd3.5: plain, steered gamma=0.2" in capsys.readouterr().err


@pytest.mark.usefixtures("unloaded")
def test_another_configuration_of_the_same_name_is_refused(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(done, "--param", "guidance=4.0", "--only", "plain", "--no-references")) == 2
    assert "another configuration named 'plain': guidance (3.0, here 4.0)" in capsys.readouterr().err


@pytest.mark.usefixtures("unloaded")
def test_the_function_of_before_warns_and_does_the_same(done: Path) -> None:
    with pytest.warns(DeprecationWarning, match=r"headrouter\.experiments\.run"):
        rows = run(
            [configure("plain", inversion="euler", method=None, steps=STEPS)],
            done / "out",
            count=8,
            with_references=False,
            progress=False,
        )
    assert [row.item for row in rows] == [row.item for row in rows_of(done, "plain")]


@pytest.mark.parametrize("study", sorted(file.stem for file in SHIPPED.glob("*.yaml")))
def test_the_studies_that_come_with_the_package_are_experiments(study: str) -> None:
    asked, listed = read_experiment(SHIPPED / f"{study}.yaml"), read_study(study)
    own = [one for one in asked.configurations if not one.name.startswith("reference ")]
    assert {one.key: one.hash for one in own} == {one.key: one.hash for one in listed}
    assert len(asked.items) == 80 and list(asked.metrics) == ["shapes-1"]


def test_seeds_are_those_of_the_experiment() -> None:
    asked = experiment([configure("a", seed=3)], with_references=False)
    assert asked.seeds == (3,) and asked.configurations[0].hash == configure("a").hash
    assert next(asked.cells()).noise_seed == cases("tune", 1)[0].seed(3)
    with pytest.raises(InvalidInputError, match=r"'sd3\.5/a' stands for two configurations"):
        experiment([configure("a"), configure("a", steps=4)])
    with pytest.raises(InvalidInputError, match="`seed` must be the same"):
        experiment([configure("a", seed=3), configure("b")])


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


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "parts", "--steps", "4"], "leave out --steps"),
        (["--config", "nowhere.yaml"], "cannot read 'nowhere.yaml'"),
        (["--config", "parts", "--only", "sde*"], "`--only` fits none of the configurations: euler, rf"),
        (["--size", "some"], "`--size` must be quick, full or a number"),
        (["--size", "500"], "`count` must be between 1 and 400"),
        (["--set", "train"], "`set`: Input should be 'tune' or 'test' (got 'train')"),
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
