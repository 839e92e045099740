"""Numbers of NumPy are taken for Python's, wherever a parameter is a number."""

from typing import Any

import numpy as np
import pytest
from headrouter_inversions.euler import Euler
from headrouter_inversions.flowedit import FlowEdit
from PIL import Image

from headrouter import Editor
from headrouter.errors import InvalidInputError
from headrouter.methods.head_router.method import HeadRouter
from headrouter.testing.toy import ToyMMDiT

PICTURE = Image.new("RGB", (32, 32), "teal")


def test_an_edit_asked_in_numpys_numbers_is_that_in_pythons() -> None:
    def edit(integer: Any, real: Any, boolean: Any) -> Any:
        editor = Editor(ToyMMDiT(), Euler(fixed_point=integer(1)), "headrouter", max_rows=integer(3), progress=False)
        size, seed = (integer(32), integer(24)), integer(5)
        numbers = {"steps": integer(2), "guidance": real(2.5), "push": real(0.5), "maps": boolean(True)}
        return editor.edit(PICTURE, ["a dog", "a cat"], "a bird", size=size, seed=seed, **numbers)

    plain = edit(int, float, bool)
    for integer, real in ((np.int64, np.float32), (np.int32, np.float64), (np.uint8, np.float16)):
        found = edit(integer, real, np.bool_)
        assert all(np.array_equal(one, other) for one, other in zip(found.images, plain.images, strict=True))
        assert found.record == plain.record


@pytest.mark.parametrize(
    ("numpys", "pythons"),
    [
        (lambda: HeadRouter(layers=(np.int64(1), np.int32(2))), HeadRouter(layers=(1, 2))),
        (lambda: FlowEdit(last_steps=np.int64(2), plain_steps=np.int16(1)), FlowEdit(last_steps=2, plain_steps=1)),
        (lambda: FlowEdit(last_steps=np.float32(0.5), averages=np.uint8(2)), FlowEdit(last_steps=0.5, averages=2)),
    ],
)
def test_parameters(numpys: Any, pythons: Any) -> None:
    assert numpys() == pythons


@pytest.mark.parametrize("value", [np.float32("nan"), np.float64("inf"), np.int64(-1), np.array([1, 2]), np.str_("x")])
def test_what_is_refused_in_python_is_refused_in_numpy(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="`guidance`"):
        Editor(ToyMMDiT(), "euler", "none", progress=False).edit(PICTURE, "a dog", guidance=value)
