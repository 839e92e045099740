"""Find the rows that the parts of HeadRouter change, and the words that differ."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.methods.method import RunContext


def steered(
    event: JointAttention,
    output: Float[Tensor, "rows heads tokens channels"],
    change: Callable[[int], Float[Tensor, "heads tokens channels"]],
) -> Float[Tensor, "rows heads tokens channels"]:
    """Return ``output`` with ``change(place)`` for the conditional row of each edit, in the strides that the kernel wrote."""
    edits = [place for place, item in enumerate(event.rows) if item.is_edit]
    if not edits:
        return output
    result = output.clone()
    for place in edits:
        result[place] = change(place)
    return result


def changed_positions(context: RunContext) -> dict[Row, tuple[int, ...]]:
    """Return, for each edit with a source, the text positions of words that its source lacks there."""
    sources = {row.image: row.prompt for row in context.rows if row.is_source}
    edits = [row for row in context.rows if not row.is_source and row.image in sources]
    return {row: row.prompt.new_positions(sources[row.image]) for row in edits}
