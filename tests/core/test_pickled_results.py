"""Results in other processes and copies: everything comes along but the model."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from headrouter_blending.method import LocalBlend
from PIL import Image

from headrouter.editing.editor import Editor
from headrouter.editing.result import Result
from headrouter.errors import InvalidInputError
from headrouter.testing.toy import ToyMMDiT

PICTURE = Image.fromarray((np.random.default_rng(0).random((32, 32, 3)) * 255).astype(np.uint8))
METHODS = [["headrouter"], [LocalBlend(mask="attention"), "headrouter"], ["maps", "injection"], None]


def edit(method: object = None) -> Result:
    editor = Editor(ToyMMDiT(), "rf", method, progress=False)  # type: ignore[arg-type]
    return editor.edit(PICTURE, ["a blue dog", "two dogs"], "a red cat", steps=3)


def same(one: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_pickled_result_is_the_result(method: object, tmp_path: Path) -> None:
    result = edit(method)
    came = pickle.loads(pickle.dumps(result))
    assert all(map(same, came.images, result.images)) and came.record == result.record and came.cost == result.cost
    assert came.text_map("blue").equal(result.text_map("blue"))
    came.save(tmp_path / "came"), result.save(tmp_path / "own")
    own = {path.name: path.read_bytes() for path in (tmp_path / "own").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "came").iterdir()} == own
    with pytest.raises(InvalidInputError, match="comes from another process"):
        came.reconstruction  # noqa: B018
    computed = result.reconstruction
    assert same(pickle.loads(pickle.dumps(result)).reconstruction, computed), "what was computed comes along"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_can_still_reconstruct(copied: object) -> None:
    result = edit()
    assert same(copied(result).reconstruction, result.reconstruction)  # type: ignore[operator]


def test_a_kept_inversion_is_pickled_too() -> None:
    editor = Editor(ToyMMDiT(), "rf", None, progress=False)
    kept = pickle.loads(pickle.dumps(editor.invert(PICTURE, steps=2)))
    assert same(editor.edit(PICTURE, "a dog", steps=2, start=kept).image, editor.edit(PICTURE, "a dog", steps=2).image)


def test_a_new_process_reads_it(tmp_path: Path) -> None:
    (tmp_path / "result").write_bytes(pickle.dumps(edit("headrouter")))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).save(sys.argv[2]))"
    subprocess.run([sys.executable, "-c", code, tmp_path / "result", tmp_path / "out"], check=True, capture_output=True)
    assert (tmp_path / "out" / "result.json").is_file()
