"""Serve the page from a temporary folder, to this machine alone unless asked, without telemetry and without the network."""

import asyncio
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

from headrouter.errors import InvalidInputError
from headrouter_app import compat

if TYPE_CHECKING:
    from headrouter_app.running import Studio

_T = TypeVar("_T")
LARGEST_UPLOAD: Final = 64 * 2**20
"""Bytes of the largest file that the page takes; its pixels are limited as those of every picture."""


@final
@dataclass(frozen=True)
class Server:
    """Describes a page that is being served.

    Attributes:
        address: Of the page.
        folder: Folder of all its files.
    """

    address: str
    folder: str

    def wait(self) -> None:
        """Wait until the process is interrupted."""
        threading.Event().wait()


def in_loop(function: Callable[[], _T]) -> _T:
    """Return the value of a function that is called within an event loop.

    Outside of one, gradio opens a loop for each of its locks, and closes none.
    """

    async def called() -> _T:
        return function()

    return asyncio.run(called())


@contextmanager
def served(studio: "Studio", host: str, port: int | None = None, *, open_browser: bool = False) -> Iterator[Server]:
    """Serve the page of a loaded model, and remove its files in the end.

    Raises:
        InvalidInputError: the address cannot be listened at.
    """
    with tempfile.TemporaryDirectory(prefix="headrouter-app-") as folder:
        os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=folder, GRADIO_NUM_PORTS="100")
        from gradio import processing_utils

        from headrouter_app.layout.page import LOOKS, page

        processing_utils.hash_seed = secrets.token_bytes(32)  # names of files cannot be guessed from their contents
        blocks = in_loop(lambda: page(studio).queue(default_concurrency_limit=8))
        compat.rest_between_looks(blocks)
        try:
            launched: tuple[Any, str, str] = in_loop(
                lambda: blocks.launch(
                    server_name=host,
                    server_port=port,
                    inbrowser=open_browser,
                    max_file_size=LARGEST_UPLOAD,
                    prevent_thread_lock=True,
                    share=False,
                    ssr_mode=False,
                    mcp_server=False,
                    pwa=False,
                    run_history=False,
                    enable_monitoring=False,
                    footer_links=[],
                    quiet=True,
                    _frontend=False,  # or a page that is slow to begin would be taken for one that nobody can reach
                    **LOOKS,
                )
            )
        except OSError as error:
            where = f"`--host` {host}, on any port," if port is None else f"`--port` {port} of `--host` {host}"
            why = "it is taken, or the address is not this machine's"
            raise InvalidInputError(f"{where} cannot be listened at: {why}. Choose another.") from error
        try:
            with compat.pictures_written_whole():
                yield Server(launched[1], folder)
        finally:
            blocks.close(verbose=False)
