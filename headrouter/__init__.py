"""Text-guided editing of real images on multimodal diffusion transformers, without training, by steering joint attention."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Editor", "HeadRouterError", "edit_again"]

if TYPE_CHECKING:
    from headrouter.again import edit_again
    from headrouter.editor import Editor
    from headrouter.errors import HeadRouterError


def __getattr__(name: str) -> object:
    """Import on first use, so that the command line starts without torch."""
    if name not in __all__:
        raise AttributeError(f"module 'headrouter' has no attribute {name!r}")
    from importlib import import_module

    module = {"Editor": "editor", "HeadRouterError": "errors", "edit_again": "again"}[name]
    return getattr(import_module(f"headrouter.{module}"), name)
