"""A file that the system does not let be read is not called damaged: whoever deletes it may lose what is whole."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from headrouter_diffusers.components import index, parts
from headrouter_shapes import model_path
from headrouter_shapes.files import load_tensors, save_tensors
from headrouter_shapes.pipelines.folder import load_pipeline

from headrouter.editing import inverted_latents
from headrouter.editing.inverted_latents import InvertedLatents
from headrouter.errors import HeadRouterError, WeightsError


def _refused(file: Any, *_: Any, **__: Any) -> NoReturn:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))


@pytest.mark.parametrize(
    ("read", "owner", "function"),
    [
        (load_tensors, Path, "open"),
        (index.read_json, Path, "read_text"),
        (lambda file: list(parts._content(file)), parts, "safe_open"),
        (lambda file: parts.refuse_unreadable(file.parent), Path, "open"),
        (InvertedLatents.load, inverted_latents, "safe_open"),
        (InvertedLatents.load, Path, "open"),
    ],
    ids=["checkpoint", "configuration", "weights", "part", "kept inversion", "kept inversion, by Python"],
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


def test_a_pipeline_whose_parts_may_not_be_read_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_path("flux"), folder)
    tokenizer, opened = folder / "tokenizer" / "tokenizer.json", Path.open
    monkeypatch.setattr(
        Path, "open", lambda file, *how, **more: (_refused if file == tokenizer else opened)(file, *how, **more)
    )
    with pytest.raises(
        WeightsError, match=re.escape(f"cannot read '{tokenizer}': Permission denied. Check its permissions")
    ):
        load_pipeline(folder)
    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(Path, "iterdir", _refused)
    with pytest.raises(WeightsError, match=re.escape("': Permission denied. Check its permissions")):
        load_pipeline(folder)
