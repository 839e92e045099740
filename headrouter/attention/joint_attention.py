"""Represent one attention event of a multimodal diffusion transformer in one canonical form.

Text and image tokens attend to each other in one sequence. On any model, a method sees query, key and value after
normalisation and rotary embedding as ``[rows, heads, tokens, channels]``, knows which tokens are text and which are image, and
may change the three before attention and the per-head output after it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from jaxtyping import Float, Int
from torch import Tensor

from headrouter import renamed
from headrouter.attention import kernels
from headrouter.attention.layout import ReferenceTokens, Site, Stream, TokenLayout
from headrouter.attention.logit_overrides import LogitOverrides
from headrouter.attention.probabilities import TextToImage
from headrouter.attention.rows import BatchRow
from headrouter.attention.step_info import StepInfo

__all__ = [
    "Attend",
    "AttendWithLogSumExp",
    "JointAttention",
    "ReferenceTokens",
    "Site",
    "Stream",
    "TextStream",
    "TokenLayout",
    "indices",
]

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
AttendWithLogSumExp = Callable[[Tensor, Tensor, Tensor], kernels.Attended]
indices = kernels.indices


@final
@renamed.keywords(clock="step_info")
class JointAttention:
    """Carries one attention operation that is about to run.

    Attributes:
        site: Place in the model.
        layout: Positions of text and image tokens.
        rows: The rows of the batch.
        step_info: Step and stage of the run.
        query, key, value: ``[rows, heads, tokens, channels]``, after normalisation and rotary embedding, in the model's
            dtype. Assign new tensors to change them; never write into them.
        scale: Factor of the logits, 1/√channels unless the model says otherwise.
        bias: The model's own mask or bias for the logits, or None.
    """

    def __init__(
        self,
        site: Site,
        layout: TokenLayout,
        rows: tuple[BatchRow, ...],
        step_info: StepInfo,
        query: Float[Tensor, "rows heads tokens channels"],
        key: Float[Tensor, "rows heads tokens channels"],
        value: Float[Tensor, "rows heads tokens channels"],
        attend: Attend,
        scale: float | None = None,
        bias: Tensor | None = None,
        native: bool = False,
        with_log_sum_exp: AttendWithLogSumExp | None = None,
    ):
        """Describe an operation: ``attend(query, key, value)`` runs the model's kernel; ``native`` says that it is PyTorch's.

        Another kernel in the place of PyTorch's is the one that runs. ``with_log_sum_exp`` runs it where it is not PyTorch's
        and gives the log-sum-exp too.
        """
        self.site, self.layout, self.rows, self.step_info = site, layout, rows, step_info
        self.query, self.key, self.value = query, key, value
        self.scale = query.shape[-1] ** -0.5 if scale is None else scale
        self.bias = bias
        self._attend, self._native, self._with_log_sum_exp = attend, native, with_log_sum_exp
        self._log_sum_exp: tuple[tuple[Tensor, Tensor], Tensor] | None = None
        self._text_to_image = TextToImage()
        self._lent: Tensor | None = None
        self._given = (query, key, value)
        self._original: JointAttention | None = None
        self._overrides = LogitOverrides()

    clock = renamed.attribute("clock", "step_info")

    def original(self) -> "JointAttention":
        """Return the attention as the model made it, without the changes of methods; itself as long as there are none."""
        if not self._overrides and _same(self._given, (self.query, self.key, self.value)):
            return self
        if self._original is None:
            place = (self.site, self.layout, self.rows, self.step_info)
            self._original = JointAttention(
                *place, *self._given, self._attend, self.scale, self.bias, self._native, self._with_log_sum_exp
            )
        return self._original

    @property
    def overrides(self) -> LogitOverrides:
        """Return the logits that rows take from others; :meth:`attend`, the log-sum-exp and probabilities follow them.

        Set before attention: ``event.overrides = event.overrides.taking(row, source, queries, keys)``.
        """
        return self._overrides

    @overrides.setter
    def overrides(self, overrides: LogitOverrides) -> None:
        self._overrides = overrides
        self._text_to_image = TextToImage(self._text_to_image.expected)

    def text_of(self, *places: int) -> int:
        """Return the number of text tokens, from the first, that are no padding in all these rows."""
        whole = self.layout.text.stop - self.layout.text.start
        return min(length if (length := self.rows[place].prompt.length) is not None else whole for place in places)

    def tokens_of(self, *places: int) -> slice | Int[Tensor, "tokens"]:
        """Return the positions of the sequence that are no padding in all these rows."""
        own, place = list[int](), 0
        for part in self.padding_of(*places):
            own.extend(range(place, part.start))
            place = part.stop
        whole = slice(0, self.layout.length)
        return indices((*own, *range(place, whole.stop)), self.query.device) if place else whole

    def padding_of(self, *places: int) -> list[slice]:
        """Return the parts of the sequence that are padding in one of these rows, in order."""
        text = self.layout.text
        padding = [slice(text.start + self.text_of(*places), text.stop), *self.layout.padding]
        return sorted((part for part in padding if part.stop > part.start), key=lambda part: int(part.start))

    def lend(self, output: Tensor | None) -> None:
        """Let the next method write into ``output``, which no other has seen; None ends that.

        Not where gradients are kept, or the kernel gave back memory of its query, key or value.
        """
        taken = output is None or output.requires_grad or kernels.share_memory(output, self.query, self.key, self.value)
        self._lent = None if taken else output

    def writable(
        self, output: Float[Tensor, "rows heads tokens channels"]
    ) -> Float[Tensor, "rows heads tokens channels"]:
        """Return a tensor to write into: ``output`` itself where it was lent, else a copy in the same strides."""
        return output if output is self._lent else output.clone()

    def attend(self, *, log_sum_exp: bool = False) -> Float[Tensor, "rows heads tokens channels"]:
        """Run the real kernel on the current query, key and value.

        Args:
            log_sum_exp: Keep the log-sum-exp of the logits when the kernel gives it, so that probabilities are cheap after.
        """
        kept: Tensor | None = None
        if log_sum_exp and self._native and not kernels.attention_is_replaced():
            output, kept = kernels.attend_with_log_sum_exp(self.query, self.key, self.value, self.scale, self.bias)
        elif log_sum_exp and self._with_log_sum_exp is not None:
            output, kept = self._with_log_sum_exp(self.query, self.key, self.value)
        else:
            output = self._attend(self.query, self.key, self.value)
        self._log_sum_exp = None if kept is None else ((self.query, self.key), kept)
        return self._overrides.attended(output, self.query, self.key, self.value, self.scale, self.bias)

    def log_sum_exp(self) -> Float[Tensor, "rows heads tokens"]:
        """Return the log-sum-exp of each query's logits over all keys, float32; the kernel's if it was kept."""
        kept = self._kept_log_sum_exp()
        if kept is None:
            kept = kernels.log_sum_exp_chunked(self.query, self.key, self.scale, self.bias)
        return self._overrides.log_sum_exp(kept, self.query, self.key, self.scale, self.bias)

    def log_sum_exp_of(self, row: int, queries: slice) -> Float[Tensor, "1 heads queries"]:
        """Return the log-sum-exp of one row's queries in a part of the layout, computed for these alone unless it was kept."""
        kept = self._kept_log_sum_exp()
        if kept is not None and self._overrides.of(row, queries) is None:
            return kept[row : row + 1, :, queries]
        pair = self._overrides.queries_and_keys(self.query, self.key, row, queries)
        bias = kernels.select_bias(self.bias, row, slice(None), queries, slice(None))
        return kernels.log_sum_exp_chunked(*pair, self.scale, bias)

    def expect(self, positions: Mapping[int, Sequence[int]]) -> None:
        """Count on :meth:`text_to_image` being asked for these text keys, by place in the batch: their block is computed once."""
        self._text_to_image.expect(positions)

    def text_to_image(
        self, row: int, positions: Sequence[int]
    ) -> Iterator[tuple[slice, Float[Tensor, "heads image_tokens keys"]]]:
        """Yield probabilities A[i, j] of image query i for the text keys at ``positions`` (within the text), one row, float32.

        The softmax runs over all keys of the sequence. They come as ``(heads, block)``, a chunk of heads at a time so that
        memory stays bounded; a block of all heads is computed once, however many methods ask.
        """
        for heads, block in self.text_to_image_of((row,), (tuple(positions),)):
            yield heads, block[0]

    def text_to_image_of(
        self, places: Sequence[int], positions: Sequence[Sequence[int]]
    ) -> Iterator[tuple[slice, Float[Tensor, "places heads image_tokens keys"]]]:
        """Yield the probabilities of :meth:`text_to_image` for several rows, 0 where a row has fewer keys than another."""
        return self._text_to_image.blocks(self, tuple(places), tuple(map(tuple, positions)))

    def image_to_text(
        self, row: int, positions: Sequence[int]
    ) -> Iterator[tuple[slice, Float[Tensor, "heads queries image_tokens"]]]:
        """Yield probabilities A[i, j] of text queries i at ``positions`` for image keys j, one row, float32.

        The softmax runs over all keys of the sequence, so a row sums to less than 1: the text has its share. Only the chosen
        queries are computed. They come as ``(heads, block)``, a chunk of heads at a time so that memory stays bounded.
        """
        heads, layout = self.query.shape[1], self.layout
        places = indices(tuple(positions), self.query.device)
        queries, (text_query, whole_key) = (
            places + layout.text.start,
            self._overrides.queries_and_keys(self.query, self.key, row, layout.text),
        )
        chunk = max(1, kernels.CHUNK_ELEMENTS // max(1, layout.length * len(positions)))
        for start in range(0, heads, chunk):
            chosen = slice(start, min(start + chunk, heads))
            query, key = text_query[:, chosen][:, :, places], whole_key[:, chosen]
            whole = kernels.select_bias(self.bias, row, chosen, queries, slice(None))
            log_sum_exp = kernels.log_sum_exp_chunked(query, key, self.scale, whole)
            block = kernels.select_bias(self.bias, row, chosen, queries, layout.image)
            yield chosen, kernels.probabilities(query, key[:, :, layout.image], log_sum_exp, self.scale, block)[0]

    def _kept_log_sum_exp(self) -> Tensor | None:
        """Return the kernel's log-sum-exp as long as query and key stay."""
        if self._log_sum_exp is None or not _same(self._log_sum_exp[0], (self.query, self.key)):
            return None
        return self._log_sum_exp[1]


def _same(kept: tuple[Tensor, ...], current: tuple[Tensor, ...]) -> bool:
    return all(one is other for one, other in zip(kept, current, strict=True))


@final
@renamed.keywords(clock="step_info")
@dataclass(frozen=True, slots=True)
class TextStream:
    """Carries the text stream as it enters a block.

    Attributes:
        site: The joint site of the block.
        hidden: ``[rows, text tokens, channels]`` in the model's dtype; never write into it.
    """

    site: Site
    rows: tuple[BatchRow, ...]
    step_info: StepInfo
    hidden: Float[Tensor, "rows tokens channels"]

    clock = renamed.attribute("clock", "step_info")
