"""Silence messages of diffusers and transformers that headrouter gives itself, or that concern spare packages.

Progress bars are off where there is no terminal. Import this before anything of diffusers: the packages of quantisation that
diffusers imports whether they are used or not are imported here, without their notes and without a request to the hub.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import transformers
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

_CUT = ("was truncated because", "Token indices sequence length is longer")
_CALLED = "Kwargs passed to `processor.__call__`"
_INCOMPLETE = ("LOAD REPORT", "Some weights of", "checkpoint seem corrupted")
_OPTIONAL = (
    "Failed to load CPU gemm_4bit_forward",
    "Failed to load /",
    "Skipping import of cpp extensions",
    "is an Enum subclass",
    "Unable to import `torchao` Tensor objects",
    "requires torchvision (not installed); falling back",
)
_OPTIONAL_OF = (
    "bitsandbytes.backends.cpu.ops",
    "torchao",
    "torch.utils._pytree",
    "diffusers.quantizers.torchao.torchao_quantizer",
    "transformers.utils.import_utils",
)
_READERS = ("CLIPImageProcessor", "SiglipImageProcessor")
"""What pipelines import of transformers for image prompts, which no edit has."""


@contextmanager
def without_notes_on_length(*loggers: str) -> Iterator[None]:
    """Drop notes on prompts that are cut, of which :func:`headrouter_diffusers.text_parts.check_length` warns.

    Also those on how a pipeline calls its own processor, which only its authors can change.
    """
    with _without((*_CUT, _CALLED), *loggers, "transformers.tokenization_utils_base", "transformers.processing_utils"):
        yield


@contextmanager
def while_loading() -> Iterator[None]:
    """Show the bars of loading on a terminal only, and drop notes on weights that are refused in a sentence."""
    bars = [] if sys.stderr.isatty() else [diffusers_logging, transformers_logging]
    shown = [module for module in bars if module.is_progress_bar_enabled()]
    for module in shown:
        module.disable_progress_bar()
    try:
        loggers = ("diffusers.models.modeling_utils", "transformers.modeling_utils")
        with _without(_INCOMPLETE, *loggers):
            ignore_own_deprecations()
            yield
    finally:
        for module in shown:
            module.enable_progress_bar()


def ignore_own_deprecations() -> None:
    """Ignore warnings of classes that diffusers itself uses although it deprecates them.

    For good: to put the process's filters back when another thread loads, too, would leave it with the wrong ones.
    """
    warnings.filterwarnings("ignore", r".*PosEmbed` is deprecated", FutureWarning)


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


@contextmanager
def _without_kernels() -> Iterator[None]:
    """Keep ``kernels``, which runs code fetched from the hub, from what is imported meanwhile."""
    modules: dict[str, Any] = sys.modules  # None says that there is no such module
    before = {"kernels": modules["kernels"]} if "kernels" in modules else {}
    modules["kernels"] = None
    try:
        yield
    finally:
        del modules["kernels"]
        modules.update(before)


def _import_what_diffusers_imports() -> None:
    with _without(_OPTIONAL, *_OPTIONAL_OF):
        if find_spec("bitsandbytes"):
            with suppress(Exception), _without_kernels():  # a broken one fails again where it is needed
                import_module("bitsandbytes")
        import_module("diffusers.quantizers.auto")
        for name in _READERS:
            getattr(transformers, name, None)


_import_what_diffusers_imports()
