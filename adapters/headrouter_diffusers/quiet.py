"""Fewer messages of diffusers and transformers: those that headrouter gives itself, and progress bars off a terminal."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

_CUT = ("was truncated because", "Token indices sequence length is longer")
_INCOMPLETE = ("LOAD REPORT", "Some weights of", "checkpoint seem corrupted")


@contextmanager
def without_notes_on_length(*loggers: str) -> Iterator[None]:
    """Drop notes on prompts that are cut: :func:`headrouter_diffusers.text_parts.check_length` warns of them."""
    with _without(_CUT, *loggers, "transformers.tokenization_utils_base"):
        yield


@contextmanager
def while_loading() -> Iterator[None]:
    """Show the bars of loading on a terminal only, and drop notes on weights that are refused in a sentence."""
    bars = [] if sys.stderr.isatty() else [diffusers_logging, transformers_logging]
    shown = [module for module in bars if module.is_progress_bar_enabled()]
    for module in shown:
        module.disable_progress_bar()
    try:
        with _without(_INCOMPLETE, "diffusers.models.modeling_utils", "transformers.modeling_utils"):
            yield
    finally:
        for module in shown:
            module.enable_progress_bar()


@contextmanager
def _without(notes: tuple[str, ...], *loggers: str) -> Iterator[None]:
    def keep(record: logging.LogRecord) -> bool:
        return not any(words in record.getMessage() for words in notes)

    for name in loggers:
        logging.getLogger(name).addFilter(keep)
    try:
        yield
    finally:
        for name in loggers:
            logging.getLogger(name).removeFilter(keep)
