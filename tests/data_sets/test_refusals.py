"""All that is wrong with a data set is said at once, with file and row, before anything runs."""

import json

import pytest
from headrouter_datasets.editeval import EditEval
from headrouter_datasets.flowedit_yaml import FlowEditYaml
from headrouter_datasets.pictures import Pictures
from headrouter_datasets.pie_bench import PieBench
from headrouter_datasets.pie_bench_pp import PieBenchPlusPlus
from headrouter_datasets.tedbench import TEdBench, TEdBenchPlusPlus

from headrouter.errors import InvalidInputError
from headrouter.plugins import registry

from . import folders


def refusal(dataset):
    with pytest.raises(InvalidInputError) as error:
        dataset.items()
    return str(error.value)


def test_all_problems_of_pie_bench_come_at_once(tmp_path):
    rows = {f"{number:012}": folders.pie_row(number, 1) for number in range(9)}
    keys = list(rows)
    rows[keys[1]]["mask"] = [5, 2, 7]
    rows[keys[2]]["mask"] = [512 * 512, 1]
    rows[keys[3]]["editing_type_id"] = "10"
    del rows[keys[4]]["editing_prompt"]
    rows[keys[5]]["mask"] = [1, 2.5]
    del rows[keys[8]]["mask"]
    folders.pie_bench(tmp_path, rows)
    folder = tmp_path / "annotation_images/1_change_object_80/1_artificial/1_animal"
    (folder / f"{keys[0]}.jpg").unlink()
    folders.put(folder / f"{keys[6]}.jpg", folders.drawn((512, 500)))
    (folder / f"{keys[7]}.jpg").write_bytes((folder / f"{keys[7]}.jpg").read_bytes()[:4000])
    text = refusal(PieBench(folder=str(tmp_path)))
    assert text.startswith(f"PIE-Bench in '{tmp_path}' has 10 problems:\n")
    for line in (
        f"mapping_file.json: {keys[0]}: '{keys[0]}.jpg': the picture is not there.",
        f"mapping_file.json: {keys[1]}: `mask` must be pairs of start and length (got 3 numbers).",
        f"mapping_file.json: {keys[2]}: `mask` must have starts within 0 … 262143, and lengths from 0.",
        f'mapping_file.json: {keys[3]}: `editing_type_id` must be "0" … "9" (got \'10\').',
        f"mapping_file.json: {keys[4]}: no `editing_prompt`.",
        f"mapping_file.json: {keys[5]}: `mask` must be a list of whole numbers.",
        f"mapping_file.json: {keys[6]}: '{keys[6]}.jpg': the picture has 512x500 pixels, not 512x512.",
        f"mapping_file.json: {keys[6]}: `mask` has 512x512 pixels, and the picture 512x500.",
        f"mapping_file.json: {keys[8]}: no `mask`, which other rows have.",
    ):
        assert line in text
    assert f"{keys[7]}.jpg': the picture" in text


def test_what_is_not_taken_may_lack_its_pictures(tmp_path):
    folders.pie_bench(tmp_path)
    (tmp_path / "annotation_images/0_random_140/000000000000.jpg").unlink()
    assert len(PieBench(folder=str(tmp_path), kinds=("add_object",)).items()) == 1
    assert "has 1 problem:" in refusal(PieBench(folder=str(tmp_path), kinds=("random", "add_object")))


def test_a_long_list_of_problems_has_an_end(tmp_path):
    (tmp_path / "edits.csv").write_text("image,prompt\n" + "".join(f"{n}.png,a dog\n" for n in range(40)))
    text = refusal(Pictures(folder=str(tmp_path)))
    assert "has 40 problems" in text and text.endswith("… and 28 more") and "edits.csv:2: '0.png'" in text


@pytest.mark.parametrize("there", folders.ALL)
@pytest.mark.parametrize("asked", folders.ALL)
def test_a_folder_of_another_set_is_named(tmp_path_factory, there, asked):
    if there == asked:
        return
    folder = FOLDERS.get(there) or folders.made(folders.ALL[there], tmp_path_factory.mktemp(there))
    FOLDERS[there] = folder
    dataset = registry().entry("dataset", asked).item.load()
    assert f"looks like that of `name: {there}`" in refusal(dataset(folder=str(folder)))


FOLDERS = {}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (
            "image,promt\nin/cat.png,a dog\n",
            ("edits.csv:2: the column `promt` is unknown. Did you mean `prompt`?", "no `prompt`."),
        ),
        (
            "image,prompt,id\nin/cat.png,a,x\nin/cat.png,b,X\n",
            ("edits.csv:3: the id 'X' is there already, at edits.csv:2.",),
        ),
        ("image,prompt,id\nin/cat.png,a,a/b\n", ("the id 'a/b' must be letters of English",)),
        ("image,prompt\nin/cat.png\n", ("edits.csv:2: it has 1 cells, and the header 2.",)),
        ("image,prompt\nin/cat.png,a,b\n", ("edits.csv:2: it has 3 cells, and the header 2.",)),
        ("image,prompt,mask\nin/cat.png,a,right.png\n", ("edits.csv:2: `mask` has colours.",)),
        ("image,prompt,truth\nin/cat.png,a,small.png\n", ("'small.png': the picture has 64x64 pixels, not 96x80.",)),
        ("image,prompt\nthin.png,a\n", ("the picture has 300x20 pixels; a side must have at least 16",)),
        ("image,prompt\nedits.csv,a\n", ("'edits.csv': the picture is not a picture",)),
        ("image,image\na,b\n", ("the column `image` is there twice",)),
        ("image,prompt,note\nin/cat.png,a,\n", ("Give it in `ignored_columns`",)),
        ("image,prompt\n", ("has no edits",)),
    ],
)
def test_tables_of_ones_own(tmp_path, table, says):
    folders.pictures(tmp_path)
    folders.put(tmp_path / "small.png", folders.drawn((64, 64)))
    folders.put(tmp_path / "thin.png", folders.drawn((300, 20)))
    (tmp_path / "edits.csv").write_text(table)
    text = refusal(Pictures(folder=str(tmp_path)))
    assert all(part in text for part in says), text


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kinds": ("change_stile",)}, "Did you mean 'change_style'?"),
        ({"first": 10}, "`first` must be below 10"),
        ({"without": ("000000000077",)}, "`without` names '000000000077'"),
        ({"mapping": "mapping.json"}, "'mapping.json' is not in"),
        ({"folder": "nowhere"}, "must be a folder that is there (got 'nowhere')"),
    ],
)
def test_parameters_that_fit_nothing(tmp_path, values, says):
    folders.pie_bench(tmp_path)
    assert says in refusal(PieBench(**{"folder": str(tmp_path), **values}))


def test_damaged_tables(tmp_path):
    pie = folders.made(folders.pie_bench, tmp_path / "pie")
    (pie / "mapping_file.json").write_text('{"000": {}, "000": {}}')
    assert "'000' is there twice" in refusal(PieBench(folder=str(pie)))
    (pie / "mapping_file.json").write_text('{"000": ')
    assert "is no JSON" in refusal(PieBench(folder=str(pie)))
    plus = folders.made(folders.pie_bench_pp, tmp_path / "plus")
    file = plus / folders.TYPE_FOLDERS[3] / "V1-00000-of-00001.parquet"
    folders.parquet(file, {"image": [None], "id": ["1"]}, ("image",))
    assert "has no column `source_prompt`; it has image, id" in refusal(PieBenchPlusPlus(folder=str(plus)))
    file.write_bytes(b"PAR1")
    assert "is no Parquet file" in refusal(PieBenchPlusPlus(folder=str(plus)))
    sheet = folders.made(folders.editeval, tmp_path / "sheet")
    (sheet / "Dataset/style_change/2.jpeg").unlink()
    assert "row 6: 'style_change/2.jpg' or .jpeg is not there" in refusal(EditEval(folder=str(sheet)))
    (sheet / "Dataset/editing_prompts_collection.xlsx").write_bytes(b"PK")
    assert "is no Excel file" in refusal(EditEval(folder=str(sheet)))
    ted = folders.made(folders.tedbench_pp, tmp_path / "ted")
    (ted / "tedbench++.csv").write_text("img_name,text\nbox.jpeg,An open box\n")
    assert "tedbench++.csv:2: no `target_text`." in refusal(TEdBenchPlusPlus(folder=str(ted)))
    (ted / "tedbench++.csv").unlink()
    (ted / "a.json").write_text(json.dumps({"img_name": "box.jpeg"}))
    assert "must be a list of rows" in refusal(TEdBench(folder=str(ted)))


def test_kinds_of_editeval_that_are_unknown(tmp_path):
    sections = (("Object Addition", 1), ("Texture", 1))
    assert "row 3: the kind 'Texture' is none of" in refusal(EditEval(folder=str(folders.editeval(tmp_path, sections))))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("- init_img: a.png\n  target_prompt: [x]\n", "edits.yaml:2:3: `target_prompt` is unknown"),
        ("- init_img: a.png\n  target_prompts: x\n", "edits.yaml:1:3: `target_prompts` must be a list of texts"),
        (
            "- init_img: a.png\n  target_prompts: [x]\n  target_codes: [a, b]\n",
            "`target_codes` must be a list of at most 1",
        ),
        ("- init_img: a.png\n  input_img: b.png\n  target_prompts: [x]\n", "must be the path of a picture"),
        ("a: 1\n", "must be a list of pictures"),
    ],
)
def test_yaml_that_is_no_list_of_edits(tmp_path, row, says):
    (tmp_path / "edits.yaml").write_text(row)
    assert says in refusal(FlowEditYaml(folder=str(tmp_path)))


@pytest.mark.parametrize(("package", "name"), [("openpyxl", "editeval"), ("pyarrow", "tedbench")])
def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch, package, name):
    folder = folders.made(folders.ALL[name], tmp_path)
    monkeypatch.setattr("headrouter_datasets.reading.tables.find_spec", lambda wanted: None)
    dataset = registry().entry("dataset", name).item.load()
    assert f"is read by the package {package}: pip install 'headrouter[datasets]'" in refusal(
        dataset(folder=str(folder))
    )
