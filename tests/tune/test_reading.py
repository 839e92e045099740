"""What the file of a search may say, and what is refused, with its place, before anything runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from headrouter_tune.file import read_search
from headrouter_tune.front import non_dominated
from headrouter_tune.objectives import Objective, read_objectives
from headrouter_tune.space import located, paths, suggested
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from experiments import light
from headrouter.cli import main
from headrouter.config.yaml_document import parse_yaml
from headrouter.errors import InvalidInputError
from headrouter.experiments.metric import Column
from headrouter.experiments.planning import plan
from headrouter.plugins import reload
from tune import toy


@pytest.fixture(autouse=True, scope="module")
def _light() -> Iterator[None]:
    light.registered()
    yield
    reload()


FLOW = "inversion[flowedit].last_steps"


def test_suggestions_become_configurations_and_back() -> None:
    search = toy.search()
    assert list(paths(search.space)) == [
        "inversion", FLOW, "inversion[sdedit].strength", "method.gamma", "operator", "guidance",
    ]  # fmt: skip
    asked = {"inversion": "flowedit", FLOW: 0.512345, "method.gamma": 0.25, "operator": "gate", "guidance": "3.0"}
    values, words = suggested(search.space, FixedTrial(asked))
    assert words == "flowedit last_steps=0.5123 gamma=0.25 gate guidance=3.0"
    one = search.configured(words, values)
    assert (one.inversion.last_steps, one.methods[0].gamma, one.guidance) == (0.5123, 0.25, 3.0)  # type: ignore[attr-defined]
    assert located(search.space, one) == {**asked, FLOW: 0.5123}
    asked = {
        "inversion": "sdedit",
        "inversion[sdedit].strength": 0.5,
        "method.gamma": 1.0,
        "operator": "none",
        "guidance": "1",
    }
    values, words = suggested(search.space, FixedTrial(asked))
    one = search.configured(words, values)
    assert not one.operators and located(search.space, one) == asked
    assert located(search.space, search.configured("outside", [])) == {
        "inversion": "flowedit", FLOW: 1.0, "method.gamma": 0.2, "operator": "gate", "guidance": "3.0",
    }  # fmt: skip


@pytest.mark.parametrize(
    "field, entry, values",
    [
        ("inversion.last_steps", {"low": 1, "high": 4}, {2}),  # steps
        ("inversion.last_steps", {"low": 0.0, "high": 1.0}, {0.3}),  # shares of the steps
        ("inversion.source_guidance", {"low": 1, "high": 4}, {1.5, 2}),  # the field takes fractions alone
        ("inversion.averages", {"low": 1, "high": 9, "step": 4}, {1, 5, 9}),
        ("inversion.source_guidance", {"low": 1, "high": 4, "step": 1.5}, {1.0, 2.5, 4.0}),
        ("mask", ["none", "words | velocity"], {"none", "words | velocity"}),
    ],
)
def test_what_is_a_number_of_steps_stays_one(field: str, entry: Any, values: set[Any]) -> None:
    search = toy.search(search={field: entry}, base={"inversion": "flowedit", "operator": "none", "mask": "words"})
    for value in values:
        placed, _ = suggested(search.space, FixedTrial({field: value}))
        assert (placed[0].value == value and type(placed[0].value) is type(value)) or isinstance(value, int)
        found = located(search.space, search.configured("one", placed))
        assert found == {field: value}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"inversio.stop": [1, 2]}, "`search.inversio.stop`: unknown name. Did you mean `inversion`?"),
    "field": (
        {"inversion.last_step": [1, 2]},
        "`search.inversion.last_step`: unknown name. Did you mean `last_steps`?",
    ),
    "field of several": ({"method.gama": [0, 1]}, "`search.method.gama`: unknown name. Did you mean `gamma`?"),
    "which of several": ({"method.mask": ["words", "velocity"]}, "Say which: `method.0.mask` or `method.1.mask`"),
    "number of none": ({"method.2.gamma": [0, 1]}, "`search.method.2.gamma`: unknown name"),
    "knob": ({"guidanse": [1, 2]}, "Did you mean `guidance`?"),
    "model": ({"backbone": ["sd3", "toy"]}, "one model is searched at a time"),
    "seed": ({"seed": [1, 2]}, "with the seeds of the file"),
    "above": ({"inversion.last_steps": {"low": 0.5, "high": 1.5}}, "`search.inversion.last_steps`: "),
    "below": (
        {"method.gamma": {"low": -1, "high": 1}},
        "`search.method.gamma`: Input should be greater than or equal to 0 (got -1)",
    ),
    "option": ({"guidance": [1, "strong"]}, "`search.guidance`: Input should be a valid number (got 'strong')"),
    "mixed": ({"inversion.last_steps": {"low": 1, "high": 0.5}}, "both ends must be of one kind (got 1 and 0.5)"),
    "empty range": ({"guidance": {"low": 3, "high": 3}}, "`low` must be below `high` (got 3.0 and 3.0)"),
    "log of zero": ({"method.gamma": {"low": 0, "high": 1, "log": True}}, "`log` takes a `low` above 0"),
    "fraction of steps": ({"steps": {"low": 1, "high": 9, "step": 0.5}}, "`step` must be one (got 0.5)"),
    "no number": ({"method.image_tokens": {"low": 0, "high": 1}}, "`search.method.image_tokens`: "),
    "truth": ({"paste": {"low": 0, "high": 1}}, "`search.paste`: "),
    "missing end": ({"guidance": {"low": 3}}, "`search.guidance.high`: Field required"),
    "word": ({"guidance": "all"}, "must be a range, `{low: 0.1, high: 0.9}`, or a list of values (got 'all')"),
    "one option": ({"guidance": [3]}, "at least two different options"),
    "part": ({"inversion": ["euler", "rff"]}, "unknown inversion 'rff'"),
    "parameter of a part": (
        {"inversion": ["euler", {"name": "rf", "etta": 1}]},
        "`inversion.etta`: unknown name (got 1)",
    ),
    "inside": (
        {"inversion": ["euler", {"name": "rf", "search": {"etta": [0, 1]}}]},
        "`search.inversion.etta`: unknown name",
    ),
    "inside, empty": ({"inversion": ["euler", {"name": "rf", "search": []}]}, "`search` of 'rf' must map its fields"),
    "field of a searched part": (
        {"inversion": ["euler", "rf"], "inversion.eta": [0, 1]},
        "`inversion` itself is searched",
    ),
    "two names of one": (
        {"method.gamma": [0, 1], "method.0.gamma": [0, 0.5]},
        "`search.method.0.gamma` is the same field as `search.method.gamma`. Leave one out.",
    ),
    "nothing": ({}, "`search` must map fields to ranges and lists"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_search_is_refused_with_its_place(case: str) -> None:
    entry, said = WRONG[case]
    with pytest.raises(InvalidInputError) as caught:
        toy.search(search=entry)
    message = str(caught.value)
    assert said in message and message.startswith("toy.yaml:")


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidInputError) as caught:
        toy.search(search={"guidance": [3], "methd": [1, 2]}, objectives=["psnr", "psnr"], presets=["glases"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 4 and all(line.startswith("toy.yaml:") for line in lines)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"base": {"name": "x"}}, "`base.name` is no part of the base"),
        ({"base": {"sweep": {}}}, "`base.sweep` is no part of the base"),
        ({"base": {"inversion": "flowedt"}}, "Did you mean 'flowedit'"),
        ({"objectives": ["psnr"]}, "`objectives`: List should have at least 2 items"),
        ({"objectives": ["psnr", "kind"]}, "of 'likeness-1.kind' neither side is better"),
        ({"objectives": ["psnr", "meen"]}, "no metric of the file has a column 'meen'. Did you mean 'mean'?"),
        ({"objectives": ["psnr", "likeness-1.psnr"]}, "'likeness-1.psnr' is there twice"),
        ({"metrics": "likeness-2"}, "unknown metric 'likeness-2'"),
        ({"trials": 0}, "`trials`: Input should be greater than or equal to 1"),
        ({"trails": 3}, "`trails`: unknown name (got 3). Did you mean `trials`?"),
        ({"presets": ["none.yaml"]}, "cannot read 'none.yaml'"),
        ({"presets": ["paper", "paper"]}, "the name 'preset paper' stands for two configurations"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        toy.search(**changes)
    assert said in str(caught.value) and str(caught.value).startswith("toy.yaml:")


def test_a_file_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="a search must be a mapping"):
        read_search(parse_yaml("- 1", "toy.yaml"))


def test_a_column_of_two_metrics_must_be_told_apart() -> None:
    columns = {
        "a-1.x": Column("", better="lower"),
        "b-1.x": Column("", better="higher"),
        "b-1.y": Column("why", better="lower"),
    }
    first, second = read_objectives(["a-1.x", "why"], columns, "x.yaml:1:1")
    assert (first.direction, second.name) == ("minimize", "b-1.y")
    with pytest.raises(InvalidInputError, match=r"Say which: a-1.x, b-1.x"):
        read_objectives(["x", "why"], columns, "x.yaml:1:1")


class _Valued:
    def __init__(self, values: tuple[float, float] | None):
        self.values = values


@given(st.lists(st.none() | st.tuples(st.integers(0, 4), st.integers(0, 4))))
def test_a_front_is_what_no_other_point_surpasses(given: list[tuple[float, float] | None]) -> None:
    better = Objective("a", Column("", better="higher")), Objective("b", Column("", better="lower"))
    points = [_Valued(one) for one in given]
    found = non_dominated(points, better)
    values = [one for one in given if one is not None]
    for point in points:
        own = point.values
        best = own is not None and not any(
            other[0] >= own[0] and other[1] <= own[1] and other != own for other in values
        )
        assert (point in found) == best
    firsts = [one.values[0] for one in found if one.values]
    assert firsts == sorted(firsts, reverse=True)


def test_the_command_counts_refuses_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "missing_weights_of", lambda _: None)  # the toy has none
    file, folder = tmp_path / "toy.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(toy.FILE))
    assert main(["tune", str(file), "-o", str(folder), "--dry-run", "--set", "seeds=[0, 1]"]) == 0
    said = capsys.readouterr().out
    assert "toy: 36 cells: 6 configurations, the base first, of 3 edits of " in said and not folder.exists()
    arguments = [
        "tune",
        str(file),
        "-o",
        str(folder),
        "--trials",
        "2",
        "--limit",
        "2",
        "--no-progress",
        "--device",
        "cpu",
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "These figures are optimistic" in said and f"next: headrouter experiment report {folder}" in said
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["tune", str(file), "-o", str(empty), "--dry-run"]) == 0 and not list(empty.iterdir())
    capsys.readouterr()
    assert main([*arguments, "--dry-run", "--limit", "3"]) == 2
    assert "another `edits`" in capsys.readouterr().err
