"""Small folders in the exact formats of published data sets."""

import csv
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

TYPE_FOLDERS = (
    "0_random_140",
    "1_change_object_80",
    "2_add_object_80",
    "3_delete_object_80",
    "4_change_attribute_content_40",
    "5_change_attribute_pose_40",
    "6_change_attribute_color_40",
    "7_change_attribute_material_40",
    "8_change_background_80",
    "9_change_style_80",
)


def drawn(size=(512, 512), seed=0):
    """Smooth, and different for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def put(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def encoded(picture):
    file = io.BytesIO()
    picture.save(file, "JPEG")
    return file.getvalue()


def pie_row(number, kind, **changed):
    place = f"{TYPE_FOLDERS[kind]}/1_artificial/1_animal/{number:012}.jpg" if kind else f"0_random_140/{number:012}.jpg"
    row = {
        "image_path": place,
        "original_prompt": "a slanted mountain bicycle on the road",
        "editing_prompt": "a slanted [rusty] mountain bicycle on the road",
        "editing_instruction": "Make the frame of the bike rusty",
        "editing_type_id": str(kind),
        "blended_word": "bicycle bicycle",
        "mask": [512 * 100 + 50, 40, 512 * 101 + 50, 40, 512 * 511 + 500, 99],
    }
    return {**row, **changed}


def pie_bench(folder, rows=None):
    rows = {f"{number:012}": pie_row(number, number) for number in range(10)} if rows is None else rows
    for number, row in enumerate(rows.values()):
        path = folder / "annotation_images" / row.get("image_path", "0_random_140/000000000000.jpg")
        if not path.exists():
            put(path, drawn(seed=number))
    (folder / "mapping_file.json").write_text(json.dumps(rows))
    return folder


def parquet(path, columns, pictures=()):
    """As the hub's library writes it: a picture is a struct of bytes and path."""
    import pyarrow
    from pyarrow import parquet as file

    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: pyarrow.array(values, picture if name in pictures else None) for name, values in columns.items()}
    file.write_table(pyarrow.table(arrays), path)


def pie_bench_pp(folder):
    for kind in (0, 3):
        numbers = range(2)
        columns = {
            "image": [{"bytes": encoded(drawn(seed=10 * kind + number)), "path": "x.jpg"} for number in numbers],
            "id": [f"{140 * kind + number:012}" for number in numbers],
            "source_prompt": ["a [cat] and a bowl" for _ in numbers],
            "target_prompt": ["a [dog] and a [red] bowl" for _ in numbers],
            "edit_action": ["{'dog': {'position': 1, 'edit_type': 1, 'action': 'cat'}}" for _ in numbers],
            "aspect_mapping": ["{'dog': ['red']}" for _ in numbers],
            "blended_words": ["['cat,dog']" for _ in numbers],
            "mask": ["51250 40 51762 40" for _ in numbers],
        }
        parquet(folder / TYPE_FOLDERS[kind] / "V1-00000-of-00001.parquet", columns, ("image",))
    return folder


def tedbench(folder):
    columns = {
        "original_image": [{"bytes": encoded(drawn((300, 200), seed)), "path": None} for seed in range(3)],
        "caption": ["A photo of a sitting dog.", "A photo of an open box.", "A photo of a bird spreading its wings."],
        "edited_image": [{"bytes": encoded(drawn((300, 200), 9)), "path": None} for _ in range(3)],
    }
    parquet(folder / "data" / "val-00000-of-00001-abc.parquet", columns, ("original_image", "edited_image"))
    return folder


def originals(folder, rows):
    for number, (name, _) in enumerate(rows):
        if not (folder / "originals" / name).exists():
            put(folder / "originals" / name, drawn((160, 200), number))
    return [{"img_name": name, "target_text": text} for name, text in rows]


TEDBENCH = (
    ("dog2_standing.png", "A sitting dog."),
    ("box.jpeg", "An open box."),
    ("dog2_standing.png", "A jumping dog."),
)


def tedbench_list(folder):
    (folder / "list.json").write_text(json.dumps(originals(folder, TEDBENCH)))
    return folder


def tedbench_pp(folder):
    rows = [{**row, "seed": "42", "edit_guidance_scale": "7,5"} for row in originals(folder, TEDBENCH)]
    table(folder / "tedbench++.csv", rows)
    return folder


def table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def editeval(folder, sections=(("Object Addition", 2), ("Object Removal", 1), ("Style Change", 2)), empty=3):
    from openpyxl import Workbook

    folders = {"Object Addition": "object_addition", "Object Removal": "object_removel", "Style Change": "style_change"}
    book = Workbook()
    sheet = book.active
    sheet.title = "Sheet1"
    sheet.append([sections[0][0], "Source Prompt", "Target Prompt", "Instruction"])
    for section, (name, count) in enumerate(sections):
        for number in range(count):
            first = name if number == 0 and section else None
            sheet.append([first, f"A lake {number}", f"A canoe on the lake {number}", "Add a canoe on the lake"])
            if name in folders:
                put(
                    folder / "Dataset" / folders[name] / f"{number + 1}.{('jpg', 'jpeg')[number % 2]}",
                    drawn((90, 64), number),
                )
    for _ in range(empty):
        sheet.append([None, None, None, None])
    sheet["F40"].number_format = "0"
    book.save(folder / "Dataset" / "editing_prompts_collection.xlsx")
    return folder


FLOWEDIT = """
-
    input_img:  example_images/bear.png
    source_prompt: A large brown bear walking
      through a stream.

    target_prompts:
     - A large black bear walking through a stream.
     - A panda bear walking through a stream.

    target_codes:
     - 1_black_bear
     - 2_panda
-
    init_img:  example_images/cat.png
    source_prompt: A cat.
    target_prompts:
     - A dog.
     - A wolf.
    target_codes: [dog]
"""


def flowedit(folder):
    for number, name in enumerate(("bear", "cat")):
        put(folder / "example_images" / f"{name}.png", drawn((64, 64), number))
    (folder / "edits.yaml").write_text(FLOWEDIT)
    return folder


def pictures(folder):
    inside = Image.new("L", (96, 80))
    inside.paste(255, (10, 10, 60, 50))
    put(folder / "mask.png", inside)
    for name in ("cat", "Ein Hund"):
        put(folder / "in" / f"{name}.png", drawn((96, 80), len(name)))
    put(folder / "right.png", drawn((96, 80), 5))
    common = {"source_prompt": "a cat", "instruction": "", "kind": "change color", "mask": "mask.png", "truth": ""}
    rows = [
        {"image": "in/cat.png", "prompt": "a red cat", **common},
        {"image": "in/Ein Hund.png", "prompt": "a wolf", **dict.fromkeys(common, "")},
        {"image": "in/cat.png", "prompt": 'a "blue" cat,\nasleep', **common, "truth": "right.png"},
    ]
    table(folder / "edits.csv", rows)
    return folder


ALL = {
    "pie-bench": pie_bench,
    "pie-bench-pp": pie_bench_pp,
    "tedbench": tedbench,
    "tedbench-pp": tedbench_pp,
    "editeval": editeval,
    "flowedit-yaml": flowedit,
    "pictures": pictures,
}


def made(build, folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    return build(folder)
