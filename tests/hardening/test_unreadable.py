"""A file that the system does not let be read is not called damaged: whoever deletes it may lose what is whole."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from headrouter_diffusers.components import index, parts
from headrouter_shapes.files import load_tensors, save_tensors

from headrouter.editing import inverted_latents
from headrouter.editing.inverted_latents import InvertedLatents
from headrouter.errors import HeadRouterError


def _refused(*_: Any, **__: Any) -> NoReturn:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize(
    ("read", "owner", "function"),
    [
        (load_tensors, Path, "open"),
        (index.read_json, Path, "read_text"),
        (lambda file: list(parts._content(file)), parts, "safe_open"),
        (InvertedLatents.load, inverted_latents, "safe_open"),
    ],
    ids=["checkpoint", "configuration", "weights", "kept inversion"],
)
def test_what_may_not_be_read_is_not_called_damaged(
    read: Callable[[Path], Any], owner: Any, function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kept.checkpoint"
    save_tensors({}, file)
    monkeypatch.setattr(owner, function, _refused)
    with pytest.raises(HeadRouterError) as refused:
        read(file)
    assert str(refused.value) == f"cannot read '{file}': Permission denied. Check its permissions and its disk."
