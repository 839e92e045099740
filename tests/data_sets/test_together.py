"""Several data sets as one: the edits of each under its label, with pictures of their own numbers."""

import pytest
from headrouter_datasets.together import APART, Together

from headrouter.config.configuration import validate
from headrouter.errors import InvalidInputError
from headrouter.testing import DatasetConformance, DatasetSubject

from . import folders


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("together")
    rows = {"000000000007": folders.pie_row(7, 9)}
    folders.made(lambda folder: folders.pie_bench(folder, rows), root / "pie")
    folders.made(folders.tedbench_pp, root / "ted")
    folders.made(folders.pictures, root / "own")
    names = {"pie-bench": "pie", "tedbench-pp": "ted", "pictures": "own"}
    return [{"name": name, "folder": str(root / place)} for name, place in names.items()]


class TestTogether(DatasetConformance):
    @pytest.fixture
    def dataset(self, sets):
        return DatasetSubject("together", lambda: Together(sets=sets))


def test_edits_of_each_set_are_as_alone_but_for_their_names(sets):
    found = Together(sets=sets[:2]).items()
    assert [item.key for item in found][:2] == ["pie-bench-000000000007", "tedbench-pp-dog2_standing-1"]
    assert {item.kind for item in found} == {"pie-bench: change_style", "tedbench-pp: edit"}
    assert found[0].number == 0 and [item.number - APART for item in found[1:]] == [0, 0, 1]
    assert found[0].mask() is not None and found[1].mask() is None and found[1].source_prompt == ""


def test_what_is_recorded_has_all_parameters_and_reads_back(sets):
    one = Together(sets=[{**sets[0], "label": "mine"}, sets[1]])
    plain = one.model_dump(mode="json")
    assert plain["sets"][0]["label"] == "mine" and plain["sets"][0]["brackets"] == "remove"
    assert validate(Together, plain).revision == one.revision != Together(sets=sets[1:]).revision


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda sets: sets[:1], "at least 2"),
        (lambda sets: [sets[0], sets[0]], "two sets are called 'pie-bench'"),
        (lambda sets: [sets[0], {"name": "pie-bnch", "folder": "x"}], "pie-bench"),
        (lambda sets: [sets[0], {**sets[1], "fodler": "x"}], "tedbench-pp: `fodler`"),
        (lambda sets: [sets[0], {**sets[1], "label": "a b"}], "label"),
        (lambda sets: [sets[0], {"name": "together", "sets": sets}], "cannot hold `together`"),
    ],
)
def test_what_cannot_be_taken_together_is_refused(sets, change, said):
    with pytest.raises(InvalidInputError, match=said):
        validate(Together, {"sets": change(sets)})


def test_all_that_is_wrong_in_any_set_is_said_at_once(sets, tmp_path):
    missing = [{**one, "folder": str(tmp_path / "gone")} for one in sets[:2]]
    with pytest.raises(InvalidInputError, match=r"(?s)pie-bench: .*gone.*tedbench-pp: .*gone"):
        Together(sets=missing).items()
