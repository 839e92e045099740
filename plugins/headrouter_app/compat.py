"""Use the one private thing of gradio that the page needs. ``tests/app/test_compat.py`` fails where a version has moved it."""

from typing import Any, Final

_SECONDS: Final = 0.05


def rest_between_looks(blocks: Any) -> None:
    """Let the queue of a page look for edits twenty times a second. Instead: gradio's thousand, which take 8 % of a core."""
    queue = blocks._queue
    queue.sleep_when_free = queue.progress_update_sleep_when_free = _SECONDS
