"""Every data set is read from a folder in its exact format."""

import json

import numpy as np
import pytest
from headrouter_datasets.editeval import EditEval
from headrouter_datasets.flowedit_yaml import FlowEditYaml
from headrouter_datasets.pictures import Pictures
from headrouter_datasets.pie_bench import TYPES, PieBench
from headrouter_datasets.pie_bench_pp import PieBenchPlusPlus
from headrouter_datasets.tedbench import TEdBench, TEdBenchPlusPlus

from headrouter.experiments import radar

from . import folders


@pytest.fixture(scope="module")
def pie(tmp_path_factory):
    return folders.made(folders.pie_bench, tmp_path_factory.mktemp("pie"))


def decoded_as_published(encoded):
    """The loop of the published evaluator, place by place."""
    flat = [0] * (512 * 512)
    for at in range(0, len(encoded), 2):
        for step in range(min(encoded[at + 1], 512 * 512 - encoded[at])):
            flat[encoded[at] + step] = 1
    mask = np.array(flat).reshape(512, 512)
    mask[0, :] = mask[-1, :] = 1
    mask[:, 0] = mask[:, -1] = 1
    return mask.astype(bool)


def test_pie_bench(pie):
    items = PieBench(folder=str(pie)).items()
    assert [item.kind for item in items] == list(TYPES)
    assert [item.number for item in items] == list(range(10))
    first = items[0]
    assert first.key == first.picture_key == "000000000000"
    assert first.prompt == "a slanted rusty mountain bicycle on the road"
    assert first.source_prompt == "a slanted mountain bicycle on the road"
    assert first.instruction == "Make the frame of the bike rusty"
    assert first.picture().size == (512, 512) and first.picture().mode == "RGB"
    assert np.array_equal(first.mask(), decoded_as_published(folders.pie_row(0, 0)["mask"]))
    assert first.mask()[100, 50] and not first.mask()[100, 90] and not first.mask()[100, 49]


def test_brackets_can_stay_as_marks(pie):
    kept = PieBench(folder=str(pie), brackets="mark").items()[0]
    assert kept.prompt == "a slanted [rusty] mountain bicycle on the road"


def test_a_part_of_it_has_the_numbers_of_the_whole(pie):
    whole = PieBench(folder=str(pie)).items()
    part = PieBench(folder=str(pie), kinds=("change_style", "add_object", "random"), first=1, count=1).items()
    assert part == (whole[2],), "in the set's own order"
    rest = PieBench(folder=str(pie), without=("000000000003",)).items()
    assert [item.number for item in rest] == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_a_mapping_file_without_masks(tmp_path):
    rows = {"000000000000": folders.pie_row(0, 0)}
    del rows["000000000000"]["mask"]
    folders.pie_bench(tmp_path, rows)
    (tmp_path / "mapping_file.json").rename(tmp_path / "long_mapping_file.json")
    (item,) = PieBench(folder=str(tmp_path), mapping="long_mapping_file.json").items()
    assert item.mask() is None


def test_pie_bench_pp(tmp_path):
    items = PieBenchPlusPlus(folder=str(folders.pie_bench_pp(tmp_path))).items()
    assert [item.key for item in items] == ["000000000000", "000000000001", "000000000420", "000000000421"]
    assert [item.kind for item in items] == ["random", "random", "delete_object", "delete_object"]
    assert items[0].prompt == "a dog and a red bowl" and items[0].source_prompt == "a cat and a bowl"
    assert np.array_equal(items[0].mask(), decoded_as_published([51250, 40, 51762, 40]))
    assert items[0].picture() != items[1].picture()


@pytest.mark.parametrize("build", [folders.tedbench, folders.tedbench_list])
def test_tedbench(tmp_path, build):
    items = TEdBench(folder=str(build(tmp_path))).items()
    assert len(items) == 3 and {item.kind for item in items} == {"edit"}
    assert {item.source_prompt for item in items} == {""} and items[0].mask() is None
    assert items[0].prompt.rstrip(".").endswith("sitting dog") and items[0].picture().mode == "RGB"


def test_tedbench_pp_brings_the_edits_of_a_picture_together(tmp_path):
    items = TEdBenchPlusPlus(folder=str(folders.tedbench_pp(tmp_path))).items()
    assert [(item.key, item.number) for item in items] == [("dog2_standing-1", 0), ("dog2_standing-2", 0), ("box-1", 1)]
    assert items[1].prompt == "A jumping dog."


@pytest.mark.parametrize("inside", ["", "Dataset"])
def test_editeval(tmp_path, inside):
    items = EditEval(folder=str(folders.editeval(tmp_path) / inside)).items()
    kinds = ["object_addition", "object_addition", "object_removal", "style_change", "style_change"]
    assert [item.kind for item in items] == kinds
    assert [item.key for item in items][1:3] == ["object_addition-2", "object_removal-1"]
    assert items[1].source_prompt == "A lake 1" and items[1].instruction == "Add a canoe on the lake"
    assert items[3].picture() == items[0].picture(), "the first picture of both sections"


def test_flowedit_yaml(tmp_path):
    items = FlowEditYaml(folder=str(folders.flowedit(tmp_path))).items()
    assert [item.key for item in items] == ["bear-1_black_bear", "bear-2_panda", "cat-dog", "cat-2"]
    assert [item.number for item in items] == [0, 0, 1, 1]
    assert items[0].source_prompt == "A large brown bear walking through a stream."


def test_flowedit_yaml_whose_pictures_lie_elsewhere(tmp_path):
    folders.flowedit(tmp_path)
    (tmp_path / "example_images").rename(tmp_path / "Images")
    with pytest.raises(ValueError, match=r"edits\.yaml:3:5: .* give `pictures: Images`"):
        FlowEditYaml(folder=str(tmp_path)).items()
    assert len(FlowEditYaml(folder=str(tmp_path), pictures="Images").items()) == 4


def test_pictures_of_ones_own(tmp_path):
    items = Pictures(folder=str(folders.pictures(tmp_path))).items()
    assert [item.key for item in items] == ["cat-1", "cat-2", "Ein-Hund-1"]
    assert items[1].prompt == 'a "blue" cat,\nasleep'
    assert items[0].mask().sum() == 50 * 40 and items[0].mask().shape == (80, 96)
    assert items[1].truth() == folders.drawn((96, 80), 5) and items[0].truth() is None
    assert items[2].kind == "edit" and items[2].source_prompt == ""


def test_json_lines_and_csv_are_the_same(tmp_path):
    folders.pictures(tmp_path)
    rows = [
        {"image": "in/cat.png", "prompt": "a dog", "id": "one", "note": 3},
        {"image": "in/cat.png", "prompt": "a wolf", "source_prompt": "a tabby", "id": "two", "note": None},
    ]
    (tmp_path / "more.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    items = Pictures(folder=str(tmp_path), file="more.jsonl", ignored_columns=("note",)).items()
    assert [(item.key, item.picture_key, item.number) for item in items] == [("one", "cat", 0), ("two", "cat-b", 1)]


@pytest.mark.parametrize("owner", [PieBench, PieBenchPlusPlus, EditEval, Pictures])
def test_kinds_of_the_radar_chart(owner):
    assert set(owner(folder="x").radar.values()) <= set(radar.KINDS) and len(radar.KINDS) == 8


def test_each_kind_of_pie_bench_but_random_is_on_the_radar_chart():
    mapped = PieBench(folder="x").radar
    assert set(mapped) == set(TYPES) - {"random"} and set(mapped.values()) == set(radar.KINDS)
    assert TEdBench(folder="x").radar == {} == FlowEditYaml(folder="x").radar


def test_the_revision_is_that_of_the_data(tmp_path):
    folders.pictures(tmp_path)
    before = Pictures(folder=str(tmp_path)).revision
    assert before == Pictures(folder=f"{tmp_path}/../{tmp_path.name}").revision, "not of where it lies"
    folders.put(tmp_path / "in" / "cat.png", folders.drawn((96, 80), 77))
    after = Pictures(folder=str(tmp_path)).revision
    assert after != before
    text = (tmp_path / "edits.csv").read_text()
    (tmp_path / "edits.csv").write_text(text.replace("a wolf", "a fox"))
    assert Pictures(folder=str(tmp_path)).revision not in (before, after)
