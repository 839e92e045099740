"""Keep the fingerprint of a small model while no bit of its weights changes.

A fingerprint reads weights as bfloat16, into which most have to be converted, and hashes each small tensor by itself: two or
three per cent of an edit by the bundled models. Sums of the bits as they are stored say in half of the time that nothing changed.
Version counters would not: they do not see what is changed through ``.data``.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.nn import functional

from headrouter.models.fingerprint import DEVICES, fingerprint, parts_of, text_of

LARGE: Final = 1 << 28
"""Bytes from which weights are fingerprinted each time: an edit by so large a model takes a hundred times as long."""
_ALONE: Final = 1 << 16
"""Bytes from which a tensor is summed by itself, and not joined with others."""
_WORD: Final = 8


@final
class KeptFingerprint:
    """Keeps a :func:`~headrouter.models.fingerprint.fingerprint` while nothing that it depends on changes.

    >>> kept, weight = KeptFingerprint(), torch.zeros(3)
    >>> before = kept([("w", weight)])
    >>> weight.data[1] = 1
    >>> kept([("w", weight)]) == fingerprint([("w", weight)]) != before
    True
    """

    def __init__(self) -> None:
        """Begin with nothing kept."""
        self._last: tuple[object, str] = (None, "")

    @torch.no_grad()
    def __call__(self, tensors: Iterable[tuple[str, Tensor]], settings: object = None) -> str:
        """Return the fingerprint of tensors and settings.

        Args:
            tensors, settings: As of :func:`~headrouter.models.fingerprint.fingerprint`.
        """
        every = [part for pair in tensors for part in parts_of(*pair)]
        facts = [(name, one.dtype, one.device, one.shape, one.nbytes) for name, one in every]
        if sum(fact[-1] for fact in facts) >= LARGE or any(fact[2].type not in DEVICES for fact in facts):
            return fingerprint(every, settings)
        asked = settings if isinstance(settings, bytes) else text_of(settings)
        content = asked, facts, _stored([one for _, one in every])
        kept, digits = self._last
        if content != kept:
            digits = fingerprint(every, settings)
            self._last = content, digits
        return digits


def _stored(tensors: Sequence[Tensor]) -> list[bytes]:
    """Return the sums of the bits of some tensors, those of small ones joined, for each device."""
    joined, sums = defaultdict[Any, list[Tensor]](list), defaultdict[torch.device, list[Tensor]](list)
    for tensor in tensors:
        if tensor.nbytes < _ALONE:
            flat = tensor if tensor.ndim == 1 else tensor.reshape(-1)
            flat = flat.view(torch.uint8) if flat.element_size() == 1 else flat  # PyTorch cannot join others everywhere
            joined[flat.dtype, flat.device].append(flat)
        else:
            sums[tensor.device] += _sums(tensor)
    for (_, device), flats in joined.items():
        sums[device] += _sums(torch.cat(flats))
    return [torch.cat(own).cpu().numpy().tobytes() for own in sums.values()]


def _sums(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return the sums of rows and of columns of numbers as a matrix of 64-bit words, and those left over.

    Modulo 2⁶⁴. No other number at one place, and no two that changed places, leave both as they are.
    """
    size = tensor.element_size()
    aligned = not tensor.storage_offset() * size % _WORD
    if aligned and tensor.ndim == 2 and not tensor.shape[1] * size % _WORD and tensor.is_contiguous():
        matrix = tensor.view(torch.int64)  # as it lies, like most weights
        return matrix.sum(dim=0), matrix.sum(dim=1)
    flat = tensor.reshape(-1)
    if flat.nbytes % _WORD or flat.storage_offset() * size % _WORD:
        flat = functional.pad(flat.view(torch.uint8), (0, -flat.nbytes % _WORD))
    words = flat.view(torch.int64)
    columns = 1 << (words.numel().bit_length() // 2)
    matrix = words[: words.numel() // columns * columns].view(-1, columns)
    return matrix.sum(dim=0), matrix.sum(dim=1), words[matrix.numel() :]
