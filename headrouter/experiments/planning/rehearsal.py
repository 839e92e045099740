"""Count the model calls and rows of an edit, by running its inversion on a model that computes nothing."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from headrouter.attention.joint_attention import Site
from headrouter.attention.rows import Row
from headrouter.editing.batch import Batch, Task
from headrouter.editing.record import masks_of
from headrouter.editing.tuning import Plan, Strength
from headrouter.masks.combined import Union
from headrouter.masks.mask import Mask
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.models.backbone import AttentionListener, Backbone, Defaults
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.inversion import Inversion

_SIDE: Final = 2
_HOST: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Calls:
    """Counts the model calls of one picture, and the rows in them.

    A row with guidance counts twice, with its prompt and without.

    Attributes:
        inversion, inversion_rows: Of taking the picture to noise.
        sampling: Of sampling, however many edits of the picture run together.
        source_rows: Of the picture itself while sampling: at most, where methods act.
        edit_rows: Of each edit.
    """

    inversion: int
    inversion_rows: int
    sampling: int
    source_rows: int
    edit_rows: int

    def rows(self, edits: int) -> int:
        """Return the rows of sampling a picture with some edits."""
        return self.source_rows + edits * self.edit_rows


def rehearse(plan: Plan, *, heard: bool = False) -> Calls:
    """Count the calls of a plan.

    Scout passes of masks are run; methods and velocity operators are not: where there are some, the picture's own row counts to
    the end. Where a method or a mask may listen to attention, one that listens in every step stands for it, and for a method
    pairs. That is more than a run may take.

    Args:
        plan: The plan.
        heard: Whether something else listens too, as word maps do that are kept of each edit.
    """
    leaves = {leaf for mask in masks_of(plan) for leaf in mask.leaves()}
    scouts = frozenset(leaf for leaf in leaves if leaf.scouts)
    listening = (_Listening(pair=bool(plan.methods)),) if plan.methods or leaves or heard else ()
    return _rehearsed(plan.inversion, plan.steps, plan.guidance, listening, bool(plan.operators), scouts, plan.strength)


@functools.lru_cache(maxsize=10_000)
def _rehearsed(
    inversion: Inversion,
    steps: int,
    guidance: float,
    listening: tuple[Method, ...],
    keep_sources: bool,
    scouts: frozenset[Mask],
    strength: Strength | None,
) -> Calls:
    model = _Rehearsal(steps, guidance)
    pixels = torch.zeros(1, 3, _SIDE, _SIDE, dtype=torch.float32, device=_HOST)
    mask = Union(of=tuple(scouts)) if scouts else None
    plan = Plan(inversion, listening, steps, guidance, mask=mask, strength=strength)
    batch = Batch(model, plan, (Task(("",), (0,), "", pixels),), (_SIDE, _SIDE))
    start, inverting = batch.invert()
    model.source_rows = model.edit_rows = 0
    sampling = batch.edit(start, keep_sources=keep_sources).cost
    return Calls(inverting.calls, inverting.rows, sampling.calls, model.source_rows, model.edit_rows)


class _Listening(Method):
    """Stands for a part that listens to attention in every step, and compares with the source where it may ``pair``."""

    pair: bool

    @property
    def requires(self) -> frozenset[str]:
        return frozenset()

    def begin(self, context: RunContext) -> MethodRun:
        return _ListeningRun(self.pair)


class _ListeningRun(MethodRun):
    def __init__(self, pair: bool):
        self._pair = pair

    def needs(self, step: int) -> Needs:
        return Needs(attention=frozenset({0}), pair=self._pair)

    def diagnostics(self) -> Mapping[str, Tensor]:
        return {}


class _Rehearsal(Backbone):
    """Stands in for a model: its velocity is zero, and it counts rows."""

    name = "rehearsal"
    provides = frozenset({"guidance", "negative-prompt"})
    sites: tuple[Site, ...] = ()
    device = _HOST
    size_multiple = 1

    def __init__(self, steps: int, guidance: float):
        self._defaults = Defaults(steps, guidance, _SIDE * _SIDE)
        self.source_rows = self.edit_rows = 0

    @property
    def defaults(self) -> Defaults:
        return self._defaults

    def encode_prompts(self, texts: Sequence[str]) -> list[Prompt]:
        return [Prompt(text, {}) for text in texts]

    def encode_image(self, pixels: Tensor) -> Tensor:
        return pixels.new_zeros(len(pixels), *self.latent_shape(_SIDE, _SIDE))

    def decode(self, latents: Tensor) -> Tensor:
        return latents.new_zeros(len(latents), 3, _SIDE, _SIDE)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        return 1, height, width

    def sigmas(self, steps: int, width: int, height: int) -> Tensor:
        return torch.linspace(1, 0, steps + 1, dtype=torch.float64, device=_HOST)

    def velocity(self, latents: Tensor, sigma: float, rows: Sequence[Row]) -> Tensor:
        return torch.zeros_like(latents)

    def batch_size(self, rows: Sequence[Row]) -> int:
        counts = [1 if row.guidance in (0, 1) else 2 for row in rows]
        self.source_rows += sum(count for count, row in zip(counts, rows, strict=True) if row.is_source)
        self.edit_rows += sum(count for count, row in zip(counts, rows, strict=True) if not row.is_source)
        return sum(counts)

    @contextmanager
    def attach(self, listener: AttentionListener) -> Iterator[None]:
        yield
