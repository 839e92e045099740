"""Keep rotary position embeddings over the calls of a run: they depend on the places of tokens alone, which stay."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.nn import Module

from headrouter_diffusers import compat

_MOST: Final = 4
"""Sets of places whose embeddings are kept: of the inversion's text and of the edits', and as many again."""


@final
@dataclass(frozen=True, eq=False)
class _Kept:
    """Holds embeddings with all that they depend on; ``versions`` are those of unchanged tensors."""

    places: Tensor
    settings: str
    embeddings: tuple[Tensor, ...]
    versions: list[int]

    def fits(self, places: Tensor, settings: str) -> bool:
        alike = self.settings == settings and self.places.dtype == places.dtype and torch.equal(self.places, places)
        return alike and compat.versions_of(self.embeddings) == self.versions


@final
class KeptRotary:
    """Computes the rotary embeddings of the same places once, on the CPU, where that is a dozen small operations an axis.

    On an accelerator they are computed each time: whether places are the same is read from their numbers, for which it would have
    to be waited for.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: list[_Kept] = []

    def clear(self) -> None:
        """Forget all, for the next run."""
        self._kept = []

    @contextmanager
    def during(self, transformer: Any) -> Iterator[None]:
        """Keep the embeddings that ``transformer`` computes in this context, if they depend on places and settings alone.

        A compiled transformer stays as it is, and so does an embedding that is not diffusers' own.
        """
        embedding: Any = getattr(transformer, "pos_embed", None)
        if not _depends_on_places_alone(embedding) or _is_compiled(transformer) or _is_compiled(embedding):
            yield
            return
        computed, settings = embedding.forward, repr(_settings(embedding))

        def forward(ids: Tensor) -> Any:
            if ids.device.type != "cpu":
                return computed(ids)
            for kept in self._kept:
                if kept.fits(ids, settings):
                    return kept.embeddings
            found = computed(ids)
            if isinstance(found, tuple):
                kept = _Kept(ids.clone(), settings, found, compat.versions_of(found))
                self._kept = [kept, *self._kept[: _MOST - 1]]
            return found

        embedding.forward = forward
        try:
            yield
        finally:
            del embedding.forward


def _depends_on_places_alone(embedding: Any) -> bool:
    """Return whether a module is one of diffusers' that takes the places of tokens, and has neither weights nor tables."""
    if not isinstance(embedding, Module) or "forward" in vars(embedding):
        return False
    held = (*embedding.parameters(), *embedding.buffers(), *_settings(embedding).values())
    takes_places = _takes_places(type(embedding), type(embedding).forward)  # type: ignore[arg-type]
    return takes_places and all(map(_is_plain, held))


@functools.cache
def _takes_places(kind: type, function: Callable[..., Any]) -> bool:
    own = function.__module__ == kind.__module__ and kind.__module__.startswith("diffusers.")
    return own and list(inspect.signature(function).parameters) == ["self", "ids"]


def _is_plain(value: object) -> bool:
    """Return whether a value is a number, or a sequence of numbers, which its text tells apart from any other."""
    return isinstance(value, int | float) or (isinstance(value, list | tuple) and all(map(_is_plain, value)))


def _settings(embedding: Module) -> dict[str, Any]:
    return {name: value for name, value in vars(embedding).items() if not name.startswith("_")}


def _is_compiled(module: Any) -> bool:
    return compat.uncompiled(module) is not module or compat.compiled_code(module) is not None
