"""Blend latents after a step, x_e ← where(mask, x_e, x_r), as a method, arXiv:2508.07519."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, final

import torch
from pydantic import Field, model_validator
from torch import Tensor

from headrouter.attention.rows import Row, way_to_a_source
from headrouter.config.step_or_fraction import StepOrFraction
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.masks.grids import blended
from headrouter.masks.mask import Mask
from headrouter.masks.part import MaskPart
from headrouter.masks.words import WordsMask
from headrouter.methods.method import Method, MethodRun, Needs, RunContext

_OF_WORDS: Final = ("theta", "source_words", "target_words", "blocks", "ranking", "top", "widen", "edges")
_OF_DIFFERENCES: Final = ("theta", "blocks")


@final
class LocalBlend(Method):
    """Keep each edit the source outside a mask, in the first steps.

    x_e ← x_r + M·(x_e − x_r) after a step; a hard mask gives one or the other to the bit. Each edit has a mask of its own with its
    source. It composes with any method, and any place in the list gives the same mask.
    """

    restores_source: ClassVar[bool] = True

    blend: StepOrFraction = Field(
        0.5,
        description="First steps of those that are run, or fraction of them, after which it blends; above 0 at least one. "
        "Published: 0.5.",
    )
    mask: MaskPart = Field(
        WordsMask(),
        json_schema_extra={"knob": "mask"},
        description="Mask outside which the source stays; by default attention to the words that differ (published).",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_old_fields(cls, data: Any) -> Any:
        return _with_mask(data) if isinstance(data, Mapping) else data

    @property
    def requires(self) -> frozenset[str]:
        """Require what the mask does."""
        return self.mask.requires

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there is no source to keep.
            HeadRouterError: the mask cannot be made.
        """
        if any(context.source_of(row) is None for row in context.rows):
            raise IncompatibleError(
                "`local-blend` keeps the source outside a mask, and this run has no source. "
                f"{way_to_a_source(context.rows)}, or leave `local-blend` out."
            )
        return _BlendRun(self.blend, self.mask, context)


@final
class _BlendRun(MethodRun):
    def __init__(self, blend: StepOrFraction, mask: Mask, context: RunContext):
        steps = context.first_steps(blend)
        self._steps, self._mask = steps, context.mask(mask, until=steps.stop)
        self._known = not self._mask.grows
        self._white: dict[Row, bool] = {}
        self._needs = Needs(latents=True, pair="conditional")

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def end_step(self, step: int, latents: Tensor, rows: Sequence[Row]) -> Tensor:
        source_of = {row.image: index for index, row in enumerate(rows) if row.is_source}
        masks = {index: self._mask.on_latents(row) for index, row in enumerate(rows) if not row.is_source}
        found = {index: mask for index, mask in masks.items() if mask is not None}
        if not found:  # an inversion that is fully controlled does not ask the model at first
            return latents
        if self._known and all(self._is_white(rows[index], mask) for index, mask in found.items()):
            return latents  # untouched latents keep what the inversion remembers
        result = list(latents.unbind(0))
        for index, mask in found.items():
            result[index] = blended(latents[source_of[rows[index].image]], latents[index], mask)
        return torch.stack(result)

    def _is_white(self, row: Row, mask: Tensor) -> bool:
        """Return whether a mask that stays is 1 everywhere; it is read once, since an accelerator is waited for."""
        if row not in self._white:
            self._white[row] = bool((mask == 1).all())
        return self._white[row]

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return no diagnostics: the result has the mask."""
        return {}


def _with_mask(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters in which fields of before masks were a part of their own have become a mask, with a warning.

    Raises:
        InvalidInputError: fields that do not go together.
    """
    values = dict(data)
    old = {name: values.pop(name) for name in ("mask_from", *_OF_WORDS) if name in values}
    if old.get("theta", 0) is None:
        del old["theta"]
    kind = old.pop("mask_from", "words")
    if not old and "mask_from" not in data:
        return values
    words = WordsMask().model_dump()
    given = {name: value for name, value in old.items() if value != words[name]}
    if values.get("mask") is not None:
        if given or kind != "words":
            names = ", ".join(f"`{name}`" for name in given) or "`mask_from`"
            raise InvalidInputError(f"`mask` leaves no use for {names}; leave one or the other out.")
        return values
    name, known = ("attention", _OF_DIFFERENCES) if kind == "difference" else ("words", _OF_WORDS)
    if kind not in ("words", "difference") or (lost := [one for one in given if one not in known]):
        useless = (
            kind if kind not in ("words", "difference") else f"'difference' leaves no use for `{lost[0]}`; leave it out"
        )
        raise InvalidInputError(f"`mask_from` {useless}.")
    warnings.warn(
        f"parameters of masks are a part of `mask` now, as in `mask={name!r}` or a mapping of `name` and parameters; the old "
        "names go with the next release.",
        DeprecationWarning,
        stacklevel=2,
    )
    return {**values, "mask": {"name": name, **given}}
