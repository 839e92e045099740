"""Load models of transformers whole, quietly, in float32."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from headrouter.errors import InvalidInputError, reason_of


def whole_model(kind: Any, folder: Path, device: torch.device, **options: Any) -> Any:
    """Return a model in evaluation mode.

    Args:
        kind: Its class, or one that chooses it.
        folder: Of the model.
        device: To put it on.
        options: Further ones of ``from_pretrained``.

    Raises:
        InvalidInputError: the weights are damaged, or lack some, which transformers would draw at random.
    """
    with _quiet():
        try:
            model, found = kind.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True, **options
            )
        except Exception as error:  # formats of weights have errors of their own
            raise InvalidInputError(
                f"the model in '{folder}' cannot be loaded: {reason_of(error)}. Download it again."
            ) from error
    lost = sorted(str(name) for name in (*found["missing_keys"], *found["mismatched_keys"]))
    if lost:
        raise InvalidInputError(
            f"the model in '{folder}' lacks {len(lost)} of its weights, {lost[0]} first. Download it again."
        )
    return model.eval().to(device)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop notes on weights that are not needed; show bars of loading on a terminal only."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    logging.set_verbosity_error()
    if bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
