"""Map where each word acts: attention of image tokens to words, averaged over a run."""

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.attention.step_mean import StepMean
from headrouter.methods.method import Method, MethodRun, Needs, RunContext


@final
class WordMaps(Method):
    """Changes nothing; records A[i, j] of image query i and text key j for every word of every edit's prompt.

    Mean over the heads of each layer, over layers, and over the steps, so a value is a probability: the share of its attention
    that an image token gives to one text token. The paper's analysis 3.2 (arXiv:2411.15034) at the resolution of the token grid.
    """

    @property
    def requires(self) -> frozenset[str]:
        """Require positions of words."""
        return frozenset({"joint-attention", "prompt-words"})

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run."""
        return _WordMapsRun(context)


@final
class _WordMapsRun(MethodRun):
    def __init__(self, context: RunContext):
        self._needs = Needs(attention=frozenset(site.index for site in context.sites))
        self._edits = [row for row in context.rows if not row.is_source]
        self._maps: dict[Row, StepMean] = {}

    def needs(self, step: int) -> Needs:
        return self._needs

    def text_keys(self, event: JointAttention) -> Mapping[int, Sequence[int]]:
        return {place: item.row.prompt.positions for place, item in enumerate(event.rows) if item.is_edit}

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        for place, positions in self.text_keys(event).items():
            if positions:
                total = sum(block.sum(dim=0) for _, block in event.text_to_image(place, positions))
                assert isinstance(total, Tensor)
                maps = (total.T / event.query.shape[1]).view(-1, *event.layout.grid)
                self._maps.setdefault(event.rows[place].row, StepMean()).add(event.step_info.step, maps)
        return output

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``text_maps`` [edit, text position, grid row, grid column]; zero at positions that hold no word."""
        if not self._maps:
            return {}
        means = {row: mean.mean().cpu() for row, mean in self._maps.items()}
        length = 1 + max(position for row in means for position in row.prompt.positions)
        some = next(iter(means.values()))
        maps = some.new_zeros(len(self._edits), length, *some.shape[1:])
        for number, row in enumerate(self._edits):
            if row in means:
                maps[number, list(row.prompt.positions)] = means[row]
        return {"text_maps": maps}
