"""The file of an experiment: what it stands for, and what is said of one that cannot be run."""

from pathlib import Path
from typing import Any

import pytest

from headrouter.cli.overrides import parse_overrides
from headrouter.config.yaml_document import parse_yaml
from headrouter.errors import InvalidInputError
from headrouter.experiments import Experiment, OtherConfiguration, new_file, read_experiment
from headrouter.experiments.configuration import AnyConfiguration, Configuration
from headrouter.experiments.file.schema import experiment_schema
from headrouter.experiments.file.writing import write_new
from headrouter.methods.head_router.method import HeadRouter
from headrouter.plugins import registry

HEAD = "dataset: {name: shapes, count: 8}\nmodel: shapes\n"


def read(text: str, *overrides: str, head: str = HEAD) -> Experiment:
    return read_experiment(parse_yaml(head + text, "x.yaml"), parse_overrides(overrides))


def names(experiment: Experiment) -> list[str]:
    return [f"{one.group} {one.name}" for one in experiment.configurations]


def composed(one: AnyConfiguration) -> Configuration:
    assert isinstance(one, Configuration)
    return one


def test_a_matrix_is_every_combination_but_those_left_out() -> None:
    experiment = read(
        "matrix:\n"
        "  backbone: [sd3.5, {name: flux, label: the flow}]\n"
        "  inversion: [euler, {name: rf, stop: 6, sweep: {eta: [0.5, 0.9]}}]\n"
        "  method: [none, [injection, {name: headrouter, label: HR, sweep: {gamma: [0.1, 0.2]}}]]\n"
        "  sweep: {guidance: [2, 4]}\n"
        "  exclude:\n"
        "    - {inversion: euler, method: headrouter}\n"
        "    - {backbone: flux, inversion: {name: rf, eta: 0.9}}\n"
        "    - {method: none, guidance: 4}\n"
    )
    steered = [f"injection + HR gamma={gamma} guidance={guidance}" for gamma in (0.1, 0.2) for guidance in (2, 4)]
    half, most = "rf stop=6 eta=0.5", "rf stop=6 eta=0.9"
    assert names(experiment) == [
        "sd3.5 euler guidance=2",
        *(
            f"sd3.5 {name}"
            for rf in (half, most)
            for name in (f"{rf} guidance=2", *(f"{rf} + {one}" for one in steered))
        ),
        "the flow euler guidance=2",
        *(f"the flow {name}" for name in (f"{half} guidance=2", *(f"{half} + {one}" for one in steered))),
    ]
    last = composed(experiment.configurations[-1])
    assert (last.guidance, last.steps, last.model, last.label) == (4, 28, "shapes", "the flow")
    assert last.inversion.model_dump()["eta"] == 0.5 and isinstance(last.methods[1], HeadRouter)
    assert last.methods[1].gamma == 0.2
    assert len({one.hash for one in experiment.configurations}) == len(experiment.configurations)


def test_a_pair_that_cannot_work_is_left_out_of_a_matrix_and_refused_in_a_list() -> None:
    """`injection` mixes text in dual blocks; a preset of a method gives nothing to another."""
    experiment = read("matrix: {inversion: [rf, euler], method: [none, headrouter], preset: stylization}")
    assert names(experiment) == ["sd3.5 rf", "sd3.5 rf + headrouter"]
    assert [(one.group, one.name) for one in experiment.skipped] == [
        ("sd3.5", "euler"),
        ("sd3.5", "euler + headrouter"),
    ]
    assert all("`preset` 'stylization' gives values to" in one.reason for one in experiment.skipped)
    with pytest.raises(InvalidInputError, match=r"x.yaml:3:18: configuration 'a': `preset` 'stylization'"):
        read("configurations: [{name: a, inversion: euler, method: none, preset: stylization}]")


def test_what_a_file_leaves_out_is_what_suits_the_rest() -> None:
    """The inversion suits the backbone, and the method the inversion; a combination has its own."""
    text = "backbone: flux-kontext\nconfigurations: [{name: a}]\nmatrix: {backbone: [flux-kontext, sd3.5]}"
    experiment = read(text)
    assert names(experiment) == ["flux-kontext instruct", "flux-kontext a", "sd3.5 rf + headrouter"]
    assert (
        not experiment.skipped
        and composed(experiment.configurations[0]).hash == composed(experiment.configurations[1]).hash
    )
    both = "{backbone: {name: flux2, model: dev}, size: [64, 64], inversion: [rf, instruct]"
    assert names(read(f"matrix: {both}}}")) == ["flux2-dev rf + headrouter", "flux2-dev instruct"]
    assert len(names(read(f"matrix: {both}, method: [none, headrouter]}}"))) == 4
    steered = read("matrix: {inversion: rf}", "method.gamma=0.3").configurations[0]
    assert composed(steered).methods == (HeadRouter(gamma=0.3),)
    with pytest.raises(InvalidInputError, match=r"--set method.gamma: .*unknown name"):
        read("matrix: {backbone: flux-kontext}", "method.gamma=0.3")


def test_lists_matrices_editors_and_references_stand_together() -> None:
    experiment = read(
        "backbone: [sd3.5, flux]\n"
        "configurations:\n"
        "  - {name: mine, inversion: euler, method: none, sweep: {guidance: [1, 2]}}\n"
        "matrix: {backbone: flux, inversion: sdedit, method: none}\n"
        "editors: [{name: command, label: copy, command: 'cp {picture} {output}'}]\n"
        "references: [source, target]\n"
        "baseline: mine guidance=1\n"
        "seeds: [3, 4]\n"
    )
    assert names(experiment) == [
        "flux reference source",
        "flux reference target",
        "flux sdedit",
        "flux mine guidance=1",
        "flux mine guidance=2",
        "sd3.5 reference source",
        "sd3.5 reference target",
        "sd3.5 mine guidance=1",
        "sd3.5 mine guidance=2",
        "editors copy",
    ]
    assert [len(experiment.seeds_of(one)) for one in experiment.configurations[:4]] == [1, 1, 2, 1]
    bases = {one.key: experiment.baseline_of(one) for one in experiment.configurations}
    assert bases["flux/mine-guidance=1"] is None
    assert all(
        base is None or key.startswith("editors") or base.group == key.split("/")[0] for key, base in bases.items()
    )
    assert isinstance(experiment.configurations[-1], OtherConfiguration) and bases["editors/copy"] is not None
    cells = list(experiment.cells())
    assert len(cells) == 8 * (4 * 1 + 2 + 4 * 1 + 2) == len({cell.key for cell in cells})
    assert {cell.noise_seed for cell in cells if cell.seed == 4} == {4000, 4001}


def test_values_of_the_command_line_replace_those_of_the_file() -> None:
    text = (
        "matrix: {inversion: [rf, sdedit], method: [none, headrouter]}\nconfigurations: [{name: a, method: headrouter}]"
    )
    experiment = read(
        text, "steps=9", "dataset.count=4", "seeds=[1, 2]", "matrix.inversion=[rf]", "matrix.method.0=maps"
    )
    assert names(experiment) == ["sd3.5 rf + maps", "sd3.5 rf + headrouter", "sd3.5 a"]
    assert {composed(one).steps for one in experiment.configurations} == {9}
    assert experiment.seeds == (1, 2) and len(experiment.items) == 4
    assert (
        composed(read(text, "inversion.start=2", "matrix.inversion=[rf]").configurations[0]).inversion.model_dump()[
            "start"
        ]
        == 2
    )


WRONG: dict[str, str] = {
    "": r"x.yaml: there is nothing to compare",
    "matrix: {}": r"x.yaml:3:9: `matrix` must map kinds of part",
    "matrix: {backbone: []}": r"x.yaml:3:20: `matrix.backbone` is empty",
    "matrix: {inversion: rf, exclude: [{inversion: rf}]}": r"x.yaml:3:9: `matrix.exclude` leaves every combination out",
    "matrix: {inversion: rf, exclude: [{inversion: euler}]}": r"x.yaml:3:35: `matrix.exclude`: no combination is",
    "matrix: {inversion: rf, exclude: [{inversion: {name: rf, etta: 1}}]}": r"x.yaml:3:35: .*`inversion.etta`: unknown",
    "matrix: {inversion: [rf, {name: rf, etta: 0.5}]}": r"x.yaml:3:37: `inversion.etta`: unknown name .*Did you mean `eta`",
    "matrix: {inversion: [rf, {name: rff}]}": r"x.yaml:3:33: unknown inversion 'rff'. Did you mean 'rf'",
    "matrix: {inversion: [rf, {name: rf, sweep: {etta: [0.5]}}]}": r"x.yaml:3:52: `inversion.etta`: unknown name",
    "matrix: {inversion: rf, sweep: {inversion.etta: [1.0]}}": r"x.yaml:3:50: `inversion.etta`: unknown name",
    "matrix: {inversion: rf, sweep: {inversion: [rf]}}": r"x.yaml:3:33: .*list its values under `matrix.inversion`",
    "matrix: {inversion: rf, sweep: {stepps: [4]}}": r"x.yaml:3:33: `matrix.sweep.stepps`: unknown name",
    "matrix: {inversion: rf, invresion: rf}": r"x.yaml:3:25: `matrix.invresion`: unknown name. Did you mean `inversion`",
    "matrix: {inversion: rf, steps: 0}": r"x.yaml:3:32: `matrix.steps`: Input should be greater",
    "matrix: {inversion: rf, method: [[injection, headrouter]], sweep: {method.gamma: [1.0]}}": r"say which, such as `method.0",
    "matrix: {inversion: rf}\nbaseline: euler": r"x.yaml:4:11: `baseline` 'euler' is none of the configurations: rf \+ headr",
    "matrix: {inversion: rf}\nmetrics: [shape-1]": r"x.yaml:4:11: unknown metric 'shape-1'. Did you mean 'shapes-1'",
    "matrix: {inversion: rf}\nmetrics: [shapes-1, shapes]": r"x.yaml:4:21: the metric 'shapes-1' is there twice; give",
    "matrix: {inversion: rf}\neditors: [{name: command, command: ls}]": r"x.yaml:4:36: `editor.command`: must have the place",
    "matrix: {inversion: rf}\nseeds: [1, 1]": r"x.yaml:4:8: `seeds`: must hold each number once",
    "matrx: {inversion: rf}": r"x.yaml:3:1: `matrx`: unknown name .*Did you mean `matrix`",
    "configurations: [{name: a}, {name: a, steps: 4}]": r"the name 'sd3.5/a' stands for two configurations",
    "configurations: [{name: a, seed: 4}]": r"x.yaml:3:28: `seed`: the noise of an experiment is drawn from its `seeds`",
    "configurations: [{name: a, sweep: {method.gama: [1.0]}}]": r"x.yaml:3:50: configuration 'a gama=1.0', `method.gama`: unknown",
    "backbone: flux": r"x.yaml:3:1: `backbone` is that of `configurations`, and there are none",
    "references: [truth]\nmatrix: {inversion: rf}": r"x.yaml:3:14: `references.0`: Input should be 'source' or 'target'",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_with_its_place(text: str) -> None:
    with pytest.raises(InvalidInputError, match=WRONG[text]):
        read(text)


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("shapez", r"x.yaml:1:10: unknown dataset 'shapez'. Did you mean 'shapes'"),
        ("{name: shapes, cont: 8}", r"x.yaml:1:25: `dataset.cont`: unknown name .*Did you mean `count`"),
        ("{name: shapes, count: 0}", r"x.yaml:1:32: `dataset.count`"),
        ("[shapes]", r"x.yaml:1:10: `dataset`"),
    ],
)
def test_a_data_set_that_cannot_be_is_refused(dataset: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        read("matrix: {inversion: rf}", head=f"dataset: {dataset}\n")


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = (
        "metrics: [nothing]\nmatrix: {inversion: [{name: rf, stop: -1}, euller], method: {name: headrouter, gama: 1}}\n"
    )
    with pytest.raises(InvalidInputError, match=r"(?s)'nothing'.*`inversion.stop`.*'euller'.*`method.gama`") as told:
        read(text)
    assert all(line.startswith("x.yaml:") for line in str(told.value).splitlines())
    with pytest.raises(InvalidInputError, match=r"^--set matrix.steps: `matrix.steps`"):
        read("matrix: {inversion: rf}", "matrix.steps=zero")


@pytest.mark.parametrize("dataset", [entry.item.name for entry in registry().entries("dataset")])
def test_the_file_to_begin_with_can_be_read(dataset: str, tmp_path: Path) -> None:
    sets = "[{name: pictures, folder: a}, {name: tedbench, folder: b}]"
    text = new_file(dataset).replace("FILL-IN", sets if dataset == "together" else f"'{tmp_path}'")
    write_new(tmp_path / "x.yaml", text)
    experiment = read_experiment(tmp_path / "x.yaml")
    assert experiment.dataset_name == dataset and experiment.baseline_of(experiment.configurations[0]) is not None
    assert not experiment.skipped
    with pytest.raises(InvalidInputError, match="is there already; nothing was written"):
        write_new(tmp_path / "x.yaml", text)


def test_the_schema_knows_every_key_and_part() -> None:
    schema: dict[str, Any] = experiment_schema()
    assert set(schema["properties"]) == {
        *(
            "name",
            "dataset",
            "metrics",
            "seeds",
            "diagnostics",
            "matrix",
            "configurations",
            "backbone",
            "model",
            "editors",
            "baseline",
            "published",
        ),
        "references",
        "executor",
    }
    parts = {key for key in schema["$defs"] if "." in key}
    assert {"dataset.headrouter:shapes", "metric.headrouter:shapes-1", "editor.headrouter:command"} <= parts
    assert "stop" in schema["$defs"]["inversion.headrouter:rf"]["properties"]
    assert {"$ref": "#/$defs/inversion.headrouter:rf"} in schema["$defs"]["matrix"]["properties"]["inversion"]["anyOf"][
        0
    ]["anyOf"]


def test_the_hash_is_of_all_that_decides() -> None:
    text = "matrix: {inversion: rf, method: none}\n"
    plain = read(text)
    same = [text + "metrics: []", text + "name: x"]
    other = [text + "seeds: 1", text + "metrics: shapes-1", text + "baseline: rf", text.replace("none", "headrouter")]
    assert {read(one).hash for one in same} == {plain.hash}
    assert len({plain.hash, *(read(one).hash for one in other)}) == 1 + len(other)
    assert read(text, "dataset.count=4").hash != plain.hash
