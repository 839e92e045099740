"""Find the rows that the parts of HeadRouter change, and the words that differ."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import final

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.methods.method import RunContext


@final
@dataclass(frozen=True, slots=True, eq=False)
class Edits:
    """Groups the conditional rows of one picture's edits, which follow each other in the batch.

    Attributes:
        rows: The edits.
        places: Their places in the batch.
        pair: Place of their source's row; None where the source does not run.
    """

    rows: tuple[Row, ...]
    places: tuple[int, ...]
    pair: int | None

    @property
    def batch(self) -> slice:
        """Return their part of the batch, by which a tensor is read without a copy."""
        return slice(self.places[0], self.places[-1] + 1)

    @property
    def source(self) -> slice:
        """Return the part of the batch that is their source's row."""
        assert self.pair is not None
        return slice(self.pair, self.pair + 1)


def edits_of(event: JointAttention) -> Iterator[Edits]:
    """Yield the edits of the batch, those of one picture together."""
    items = [(place, item) for place, item in enumerate(event.rows) if item.is_edit]
    together = groupby(enumerate(items), lambda each: (each[1][0] - each[0], each[1][1].row.image, each[1][1].pair))
    for (_, _, pair), group in together:
        places, batch_rows = zip(*(found for _, found in group), strict=True)
        yield Edits(tuple(item.row for item in batch_rows), places, pair)


def changed_positions(context: RunContext) -> dict[Row, tuple[int, ...]]:
    """Return, for each edit with a source, the text positions of words that its source lacks there."""
    sources = {row.image: row.prompt for row in context.rows if row.is_source}
    edits = [row for row in context.rows if not row.is_source and row.image in sources]
    return {row: row.prompt.new_positions(sources[row.image]) for row in edits}
