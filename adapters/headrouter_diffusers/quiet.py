"""Less noise from diffusers and transformers, where headrouter says it itself or nobody looks."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

_CUT = ("was truncated because", "Token indices sequence length is longer")


@contextmanager
def without_notes_on_length(*loggers: str) -> Iterator[None]:
    """Drop notes on prompts that are cut: :func:`headrouter_diffusers.text_parts.check_length` has told already."""

    def keep(record: logging.LogRecord) -> bool:
        return not any(words in record.getMessage() for words in _CUT)

    names = [*loggers, "transformers.tokenization_utils_base"]
    for name in names:
        logging.getLogger(name).addFilter(keep)
    try:
        yield
    finally:
        for name in names:
            logging.getLogger(name).removeFilter(keep)


@contextmanager
def without_loading_bars() -> Iterator[None]:
    """Show the bars of loading on a terminal only."""
    if sys.stderr.isatty():
        yield
        return
    shown = [module for module in (diffusers_logging, transformers_logging) if module.is_progress_bar_enabled()]
    for module in shown:
        module.disable_progress_bar()
    try:
        yield
    finally:
        for module in shown:
            module.enable_progress_bar()
