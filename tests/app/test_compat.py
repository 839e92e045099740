"""What the page uses of gradio, though it is private, is there and does what is expected."""

from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio import image_utils, processing_utils
from headrouter_app import compat
from headrouter_app.serving import in_loop
from PIL import Image


def test_rest_between_looks() -> None:
    blocks = in_loop(lambda: gr.Blocks().queue())
    before = {**vars(blocks._queue)}
    compat.rest_between_looks(blocks)
    changed = {name: one for name, one in vars(blocks._queue).items() if one is not before[name]}
    assert changed == {"sleep_when_free": 0.05, "progress_update_sleep_when_free": 0.05}
    assert all(before[name] < seconds for name, seconds in changed.items())


def test_a_picture_is_whole_while_it_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, before, seen = Image.new("RGB", (8, 8), "red"), processing_utils.save_pil_to_cache, list[bool]()
    with compat.pictures_written_whole():
        place = Path(image_utils.save_image(picture, str(tmp_path), format="png"))
        whole, write = place.read_bytes(), Path.write_bytes

        def watched(path: Path, content: Any) -> int:
            write(path, b"")
            seen.append(place.read_bytes() == whole)
            return write(path, content)

        monkeypatch.setattr(Path, "write_bytes", watched)
        assert image_utils.save_image(picture, str(tmp_path), format="png") == str(place)
    assert seen == [True] and place.read_bytes() == whole and [*tmp_path.rglob("*.png")] == [place]
    assert processing_utils.save_pil_to_cache is before
