"""HeadRouter at work: head weights, refinement of image and text tokens, and the evidence of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, final

import torch
from torch import Tensor

from headrouter.joint_attention import JointAttention, TextStream, indices
from headrouter.method import MethodRun, Needs, Setting
from headrouter.moments import window
from headrouter.routing import heads, tokens
from headrouter.rows import Row

if TYPE_CHECKING:
    from headrouter.routing.method import HeadRouter


@final
class HeadRouterRun(MethodRun):
    """HeadRouter in one run: what it needs in each step, what it does to each attention, and what it saw."""

    def __init__(self, method: "HeadRouter", setting: Setting):
        self._method, self._setting = method, setting
        self._steps = window(method.start, method.stop, setting.steps)
        chosen = range(len(setting.sites)) if method.layers is None else method.layers
        sites = [setting.sites[index] for index in chosen]
        acts = method.gamma > 0 or method.image_tokens != "off"
        self._needs = Needs(
            attention=frozenset(site.index for site in sites) if acts else frozenset(),
            text=frozenset(
                site.index
                for site in sites
                if method.rho > 0 and (method.text_blocks == "all" or site.stream == "dual")
            ),
            pair=method.gamma > 0,
        )
        singles = {site.index for site in sites if site.stream == "single"}
        self._feature_sites = singles or {site.index for site in sites}
        edits = [row for row in setting.rows if not row.is_source]
        self._edit_numbers = {row: number for number, row in enumerate(edits)}
        sources = {row.image: row.prompt for row in setting.rows if row.is_source}
        self._changed = {row: row.prompt.new_positions(sources[row.image]) for row in edits if row.image in sources}
        self._previous_text: tuple[int, Tensor] | None = None
        self._records: dict[str, _Record] = {}

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def wants_log_sum_exp(self, event: JointAttention) -> bool:
        method = self._method
        return method.image_tokens == "attention" or (method.gamma > 0 and method.where == "words")

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        edits = [place for place, item in enumerate(event.rows) if item.is_edit]
        if not edits:
            return output
        result = output.clone()  # keeps the strides in which the kernel wrote it, so that nobody has to copy it again
        for place in edits:
            item = event.rows[place]
            row = result[place]
            if self._method.image_tokens == "attention":
                self._refine(event, place, row)
            if self._method.gamma > 0 and item.pair is not None:
                source, edit = output[item.pair], output[place]
                gain = self._weights(event, item.row, source, edit)[:, None, None] - 1
                if self._method.where != "everywhere":
                    gain = gain * self._reach(event, place)[:, None]
                heads.amplify_(row, gain, edit, source if self._method.amplify == "difference" else None)
            if self._method.image_tokens == "features" and event.site.index in self._feature_sites:
                self._refine_features(event, row)
        return result

    def text(self, stream: TextStream) -> Tensor:
        """t_b ← (1 − ρ)·t_b + ρ·t_{b−1}, t_{b−1} the mixed input of the block before; anew in every forward."""
        previous = self._previous_text
        hidden = stream.hidden
        if previous is not None and previous[0] == stream.clock.forward and previous[1].shape == hidden.shape:
            chosen = tuple(
                place
                for place, item in enumerate(stream.rows)
                if item.is_edit or (self._method.text_rows == "both" and item.half == "conditional")
            )
            at = indices(chosen, hidden.device)
            mixed = (1 - self._method.rho) * hidden[at] + self._method.rho * previous[1][at]
            hidden = hidden.index_copy(0, at, mixed)
        self._previous_text = (stream.clock.forward, hidden)
        return hidden

    def evidence(self) -> Mapping[str, Tensor]:
        """Means over the evaluations of a step; NaN where there was none.

        ``head_weights`` and ``dissimilarity`` [edit, step, layer, head]; ``token_weight_change``, the mean of |ŵ − 1|, and
        ``token_weight_ratio``, max ŵ / min ŵ, [edit, step, layer].
        """
        return {name: record.mean() for name, record in self._records.items()}

    def _weights(self, event: JointAttention, row: Row, source: Tensor, edit: Tensor) -> Tensor:
        method, layout = self._method, event.layout
        if method.compare == "image" or not event.site.text_output:
            source, edit = source[:, layout.image], edit[:, layout.image]
        dissimilarity = heads.dissimilarity(source, edit)
        weights = heads.head_weights(heads.normalised(dissimilarity), method.gamma, method.k, method.delta, method.form)
        self._record("dissimilarity", event, row, dissimilarity)
        self._record("head_weights", event, row, weights)
        return weights

    def _reach(self, event: JointAttention, place: int) -> Tensor:
        """Share of a head's weight that acts in each token, [tokens] in [0, 1]; none in text.

        In the image 1, or with ``where="words"`` the attention to the changed words over its largest.
        """
        reach = torch.zeros(event.layout.length, device=event.query.device)
        image = reach[event.layout.image]
        if self._method.where == "image":
            image.fill_(1.0)
            return reach
        positions = self._changed[event.rows[place].row]
        if positions:
            attention = torch.cat([block for _, block in event.text_to_image(place, positions)]).sum(dim=(0, 2))
            image.copy_(attention / attention.amax().clamp(min=torch.finfo(torch.float32).tiny))
        return reach

    def _refine(self, event: JointAttention, place: int, output: Tensor) -> None:
        """Eq. 20, into ``output`` [heads, tokens, channels] of one row."""
        method, layout, text = self._method, event.layout, event.layout.text
        row = event.rows[place].row
        positions = {
            "words": row.prompt.positions,
            "changed": self._changed.get(row, ()),
            "all": tuple(range(text.stop - text.start)),
        }[method.keys]
        if not positions:
            return
        value = event.value[place][:, text].index_select(1, indices(positions, output.device))
        image = output[:, layout.image]
        change, largest, smallest = [], [], []
        for chosen, block in event.text_to_image(place, positions):
            weights = tokens.token_weights(block, method.alpha, method.amplitude, method.token_form)
            image[chosen] = tokens.refined(image[chosen], weights, block, value[chosen])
            change.append((weights - 1).abs().mean(dim=(1, 2)))
            largest.append(weights.amax())
            smallest.append(weights.amin())
        self._record("token_weight_change", event, row, torch.cat(change).mean())
        self._record("token_weight_ratio", event, row, torch.stack(largest).amax() / torch.stack(smallest).amin())

    def _refine_features(self, event: JointAttention, output: Tensor) -> None:
        method, image = self._method, event.layout.image
        form: Literal["literal", "centred"] = "literal" if method.token_form == "literal" else "centred"
        weights = tokens.feature_weights(output[:, image], method.alpha, method.amplitude, form)
        output[:, image] = weights * output[:, image].float()

    def _record(self, name: str, event: JointAttention, row: Row, value: Tensor) -> None:
        if name not in self._records:
            shape = (len(self._edit_numbers), self._setting.steps, len(self._setting.sites), *value.shape)
            self._records[name] = _Record(shape, value.device)
        self._records[name].add((self._edit_numbers[row], event.clock.step, event.site.index), value)


@final
class _Record:
    """A mean over the evaluations of each step, kept on the device until it is asked for."""

    def __init__(self, shape: tuple[int, ...], device: torch.device):
        self._sum = torch.zeros(shape, device=device)
        self._count = torch.zeros(shape[:3])

    def add(self, place: tuple[int, int, int], value: Tensor) -> None:
        self._sum[place] += value
        self._count[place] += 1

    def mean(self) -> Tensor:
        count = self._count[(...,) + (None,) * (self._sum.ndim - 3)]
        return torch.where(count > 0, self._sum.cpu() / count, torch.nan)
