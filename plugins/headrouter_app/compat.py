"""Change two private things of gradio for the page. ``tests/app/test_compat.py`` fails where a version has moved one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

_SECONDS: Final = 0.05


def rest_between_looks(blocks: Any) -> None:
    """Let the queue of a page look for edits twenty times a second. Instead: gradio's thousand, which take 8 % of a core."""
    queue = blocks._queue
    queue.sleep_when_free = queue.progress_update_sleep_when_free = _SECONDS


@contextmanager
def pictures_written_whole() -> Iterator[None]:
    """Write each picture of a page beside its place and rename it.

    Instead: gradio's own writing. Equal pictures, also of two visitors, share a file, which it empties and writes again for each
    answer that shows it; an edit or a browser that reads the file at that moment finds a damaged picture.
    """
    from gradio import processing_utils

    write = processing_utils.save_pil_to_cache

    def write_whole(img: Any, cache_dir: str, name: str = "image", format: str = "webp") -> str:  # noqa: A002
        with TemporaryDirectory(dir=cache_dir) as scratch:
            written = Path(write(img, scratch, name, format))
            place = Path(cache_dir, written.parent.name, written.name).resolve()
            place.parent.mkdir(exist_ok=True)
            return str(written.replace(place))

    processing_utils.save_pil_to_cache = write_whole
    try:
        yield
    finally:
        processing_utils.save_pil_to_cache = write
