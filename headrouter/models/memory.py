"""Say in a sentence that a device ran out of memory, and what needs less."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import torch

from headrouter.errors import OutOfMemoryError

_SMALLER: Final = (
    "a smaller `size`, `max_rows=2` (edits one by one), `offload='model'` or `'group'`, `dtype='bfloat16'`"
)
_LIGHTER: Final = "`offload='model'` or `'group'`, `dtype='bfloat16'`, or `quantize` where the backbone has it"


@contextmanager
def enough_memory(device: Callable[[], torch.device], when: str, *, loading: bool = False) -> Iterator[None]:
    """Turn PyTorch's error in this context into one that says when memory ran out.

    Args:
        device: Gives the device, and is asked when it ran out: backbones look it up anew each time.
        when: What was done.
        loading: Whether a model was being loaded, not run.

    Raises:
        OutOfMemoryError: the device has too little memory.

    >>> with enough_memory(lambda: torch.device("cpu"), "at step 3 with 4 rows"):
    ...     raise torch.OutOfMemoryError
    Traceback (most recent call last):
    headrouter.errors.OutOfMemoryError: cpu ran out of memory at step 3 with 4 rows. Save memory by a smaller `size`, ...
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        ways = _LIGHTER if loading else _SMALLER
        raise OutOfMemoryError(f"{device()} ran out of memory {when}. Save memory by {ways}.") from error
