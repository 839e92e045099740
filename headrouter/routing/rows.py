"""What the parts of HeadRouter share: the rows they change, the words that differ, and means of what they saw."""

from collections.abc import Callable, Mapping
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter.joint_attention import JointAttention
from headrouter.method import Setting
from headrouter.rows import Row


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


def changed_positions(setting: Setting) -> dict[Row, tuple[int, ...]]:
    """Return, for each edit that has a source, the text positions of the words that its source's prompt does not have there."""
    sources = {row.image: row.prompt for row in setting.rows if row.is_source}
    edits = [row for row in setting.rows if not row.is_source and row.image in sources]
    return {row: row.prompt.new_positions(sources[row.image]) for row in edits}


@final
class StepMeans:
    """Means over the evaluations of each step, by name, [edit, step, layer, ...]; kept on the device until they are asked for."""

    def __init__(self, setting: Setting):
        """``setting``: the run."""
        self._edits = {row: number for number, row in enumerate(row for row in setting.rows if not row.is_source)}
        self._shape = (len(self._edits), setting.steps, len(setting.sites))
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}

    def add(self, name: str, event: JointAttention, row: Row, value: Tensor) -> None:
        """Count one evaluation of ``row``."""
        if name not in self._sums:
            self._sums[name] = torch.zeros((*self._shape, *value.shape), device=value.device)
            self._counts[name] = torch.zeros(self._shape)
        place = (self._edits[row], event.clock.step, event.site.index)
        self._sums[name][place] += value
        self._counts[name][place] += 1

    def means(self) -> Mapping[str, Tensor]:
        """Return the means on the CPU, NaN where there was no evaluation."""
        found = {}
        for name, total in self._sums.items():
            count = self._counts[name][(...,) + (None,) * (total.ndim - 3)]
            found[name] = torch.where(count > 0, total.cpu() / count, torch.nan)
        return found
