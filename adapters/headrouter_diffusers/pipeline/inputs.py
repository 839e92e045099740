"""Make the inputs of a transformer from the rows of a call, once where calls share them."""

from abc import ABC
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headrouter.attention.layout import TokenLayout
from headrouter.attention.rows import BatchRow, Row, batch_rows
from headrouter.errors import InvalidInputError
from headrouter.prompts.batch import stacked, text_length, text_mask
from headrouter_diffusers.attention.layout import layout_of
from headrouter_diffusers.pipeline.call import Call
from headrouter_diffusers.pipeline.hooks import PipelineHooks
from headrouter_diffusers.pipeline.placement import Place, Placement


class CallInputs(PipelineHooks, ABC):
    """Gives subclasses what their :meth:`predict` may use, of the call that it is in."""

    _placement: Placement
    _last: Call | None = None
    _running: Call | None = None

    @final
    def conditioning(self, batch: Sequence[BatchRow], name: str) -> Tensor:
        """Return one tensor of the prompts of a batch, [batch, ...], on the device and in the transformer's dtype.

        Shorter prompts are filled up with zeros on the right, along their text axes. Booleans and integers keep their dtype.
        """

        def make() -> Tensor:
            tensor, (device, dtype, _) = stacked([item.prompt for item in batch], name), self._place()
            return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)

        return self.once(batch, ("conditioning", name), make)

    @final
    def once(self, batch: Sequence[BatchRow], name: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """Return what ``make`` gives, made once for calls whose batch and size are the same.

        Made at each call where code of others may see it, and where :attr:`keeps_no_tensor` is false; anew after a change in place.

        Args:
            batch: As it was given to :meth:`predict`.
            name: Tells apart what is made.
            make: Makes an input of the transformer that depends on the batch and the sizes alone.
        """
        running = self._running
        return make() if running is None or running.batch is not batch else running.once(name, make)

    @final
    def references(self, batch: Sequence[BatchRow]) -> list[Float[Tensor, "batch channels h w"]]:
        """Return the latents of each reference picture of a batch, on the device and in the transformer's dtype.

        Raises:
            InvalidInputError: more of them than the model takes, or of different sizes in different rows.
        """
        every = [item.row.references for item in batch]
        if not any(every):
            return []
        device, dtype, _ = self._place()
        if len(every[0]) > self.most_references:
            raise InvalidInputError(
                f"`references`: {self.family} takes {self.most_references or 'no'} reference picture"
                f"{'s' * (self.most_references > 1)}, the edited one included, and this run has {len(every[0])}. Leave some out."
            )
        if len({tuple(one.shape for one in own) for own in every}) > 1:
            raise InvalidInputError(
                "`references` must be of the same number and sizes in all rows that run together; run the pictures one by one."
            )
        return [torch.cat(latents).to(device, dtype) for latents in zip(*every, strict=True)]

    @final
    def text_mask(self, batch: Sequence[BatchRow]) -> Bool[Tensor, "batch tokens"]:
        """Return which text tokens of a batch are a prompt's own, and not filled up, on the device."""
        return text_mask([item.prompt for item in batch], self._place()[0])

    def _place(self) -> Place:
        """Return where the transformer computes; that of the call within one."""
        return self._placement() if self._running is None else self._running.place

    def _call(self, latents: Tensor, rows: Sequence[Row]) -> Call:
        """Return what this call shares with the last one, or will share with the next."""
        last, place = self._last, self._placement()
        if last is None or not last.is_of(rows, latents.shape, place):
            batch = batch_rows(rows, guided=self.guided)
            layout = self._layout(latents, text_length([item.prompt for item in batch]), *rows[0].references)
            self._last = last = Call(tuple(rows), latents.shape, place, batch, layout)
        return last

    @contextmanager
    def _within(self, call: Call) -> Iterator[None]:
        """Make ``call`` the one that :meth:`conditioning`, :meth:`once` and :meth:`references` are of."""
        before, self._running = self._running, call
        try:
            yield
        finally:
            self._running = before

    @final
    def _layout(self, latents: Tensor, text: int, *references: Tensor) -> TokenLayout:
        grids = tuple((each.shape[-2] // self.patch, each.shape[-1] // self.patch) for each in (latents, *references))
        return layout_of(self.text_first, self.filled_to, self.registers, text, grids, self.segments(text))
