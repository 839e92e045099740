"""Edit real images by text on multimodal diffusion transformers, without training, by steering joint attention."""

from typing import TYPE_CHECKING

from headrouter import moved
from headrouter.version import __version__

__all__ = ["Editor", "HeadRouterError", "__version__", "replay"]

if TYPE_CHECKING:
    from headrouter.editing.editor import Editor
    from headrouter.editing.replay import replay
    from headrouter.errors import HeadRouterError

moved.install()


def __getattr__(name: str) -> object:
    """Import on first use, so that the command line starts without torch."""
    again = "editing.replay"
    modules = {"Editor": "editing.editor", "HeadRouterError": "errors", "replay": again, "edit_again": again}
    if name not in modules:
        raise AttributeError(f"module 'headrouter' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"headrouter.{modules[name]}"), name)
