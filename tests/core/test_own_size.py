"""`size` "auto" needs a training area; without one a width and height must be given."""

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from headrouter import Editor
from headrouter.errors import InvalidInputError
from headrouter.models.backbone import Defaults
from headrouter.testing.toy import ToyMMDiT

PICTURE = Image.new("RGB", (48, 32), "teal")


class Untold(ToyMMDiT):  # type: ignore[misc]
    @property
    def defaults(self) -> Defaults:
        return Defaults(2, 1.0, 0)


USES: dict[str, Callable[..., Any]] = {
    "edit": lambda editor, **size: editor.edit(PICTURE, "a dog", **size),
    "invert": lambda editor, **size: editor.invert(PICTURE, **size),
    "reconstruct": lambda editor, **size: editor.reconstruct(PICTURE, **size),
    "generate": lambda editor, **size: editor.generate("a dog", **size),
}


@pytest.mark.parametrize("use", USES)
def test_a_model_that_names_no_training_area(use: str) -> None:
    editor = Editor(Untold(), "rf", "none", progress=False)
    with pytest.raises(
        InvalidInputError, match=r"`size` 'auto' .* toy was trained on.*names none\. Give a width and height"
    ):
        USES[use](editor)
    assert USES[use](editor, size=(48, 32)) is not None
