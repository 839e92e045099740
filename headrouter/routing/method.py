"""HeadRouter as a method: head routing (IARouter) and dual-token refinement (DTR), arXiv:2411.15034.

Every reading of the paper is an option, and the presets ``paper`` and ``release`` are its constants. The defaults are what the
benchmark found best (docs/results.md): a head's weight amplifies what the head does otherwise than in the source's branch, in image
tokens; of the readings of eq. 19 ``share``, on the words that the prompts differ in.
"""

from collections.abc import Mapping
from typing import Literal, final

import torch
from pydantic import Field
from torch import Tensor

from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.joint_attention import JointAttention, TextStream, indices
from headrouter.method import Method, MethodRun, Needs, Setting
from headrouter.moments import Moment, window
from headrouter.routing import heads, tokens
from headrouter.rows import Row


@final
class HeadRouter(Method):
    """Amplify the heads that react to the edit, and the text's hold on image tokens.

    In each chosen layer, for the conditional row of each edit: the dissimilarity to the source's row gives a weight per head; image
    tokens are refined; then the output of each head is multiplied by its weight. Dissimilarity is measured before refinement.
    The source's row never changes, except by ``rho`` with ``text_rows="both"``.
    """

    gamma: float = Field(
        0.2,
        ge=0,
        le=10,
        description="γ, largest increment of a head's weight; 0 routes nothing.",
        json_schema_extra={"knob": "push"},
    )
    k: float = Field(10.0, ge=0, le=1000, description="k, steepness of the sigmoid over d̃ (the release has none: 1).")
    delta: float = Field(0.5, ge=0, le=1, description="δ, centre of the sigmoid over d̃.")
    form: Literal["literal", "anchored"] = Field("literal", description="Eq. 16, or a form that is exactly 1 at d̃ = 0.")
    compare: Literal["all", "image"] = Field("all", description="Tokens whose features enter the cosine of eq. 12.")
    amplify: Literal["output", "difference"] = Field(
        "difference",
        description="Multiply a head's output (eq. 18), or only what it differs by from the source's: "
        "v_e + (w − 1)·(v_e − v_r), which leaves alone what the branches agree on.",
    )
    where: Literal["everywhere", "image", "words"] = Field(
        "image",
        description="Weigh heads in all tokens (paper), in image tokens, or there as far as the changed words reach.",
    )

    image_tokens: Literal["attention", "features", "off"] = Field(
        "attention", description="Refine image tokens through A (paper), through output features (release), or not."
    )
    token_form: tokens.Form = Field("share", description="Reading of eq. 19.")
    alpha: float = Field(2.0, ge=0, le=10, description="α, coefficient of ŵ; 2 makes ν = 0 neutral.")
    nu: float | None = Field(
        None,
        ge=0,
        le=1e6,
        description="ν, amplitude inside the sigmoid; by default 5 for literal, else 2 (relative to 1/N).",
    )
    keys: Literal["words", "changed", "all"] = Field(
        "changed",
        description="Text keys that are refined: of the prompt's words, of those that the source's prompt says otherwise, or "
        "all with padding and specials.",
    )

    rho: float = Field(0.1, ge=0, lt=1, description="ρ, share of the previous block's text input.")
    text_rows: Literal["edit", "both"] = Field("edit", description="Rows whose text is mixed; the release mixes both.")
    text_blocks: Literal["dual", "all"] = Field(
        "dual", description="Blocks whose text is mixed; the release: dual-stream ones."
    )

    start: Moment = Field(0, description="First steered step, or fraction of the steps.")
    stop: Moment = Field(1.0, description="First step after the steered ones, or fraction.")
    layers: tuple[int, ...] | None = Field(None, description="Numbers of the steered joint layers; all if not given.")

    @property
    def requires(self) -> frozenset[str]:
        """Capability words that the backbone must provide."""
        words = {"joint-attention"}
        if self._looks_at_words:
            words.add("prompt-words")
        if self.rho > 0:
            words.add("text-stream")
        return frozenset(words)

    @property
    def _looks_at_words(self) -> bool:
        routes_by_words = self.gamma > 0 and self.where == "words"
        return routes_by_words or (self.image_tokens == "attention" and self.keys != "all")

    @property
    def amplitude(self) -> float:
        """ν as it is used."""
        return self.nu if self.nu is not None else 5.0 if self.token_form == "literal" else 2.0

    def begin(self, setting: Setting) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there is no source row to compare with.
            InvalidInputError: a layer that the model does not have, or an impossible combination.
        """
        compares_words = self.image_tokens == "attention" and self.keys == "changed"
        if (self.gamma > 0 or compares_words) and not any(row.is_source for row in setting.rows):
            what, instead = (
                ("Head routing", "gamma=0") if self.gamma > 0 else ("`method.keys` 'changed'", "keys='words'")
            )
            raise IncompatibleError(
                f"{what} compares an edit with its source, and this run has no source. Use `method.{instead}`, or "
                "`method='none'`."
            )
        if self.image_tokens == "features" and self.token_form == "share":
            raise InvalidInputError(
                "`method.token_form` 'share' has no meaning with `image_tokens` 'features': features have signs. Choose 'literal' "
                "or 'centred'."
            )
        unknown = [layer for layer in self.layers or () if not 0 <= layer < len(setting.sites)]
        if unknown:
            raise InvalidInputError(
                f"`method.layers` {unknown} do not exist: the model has joint layers 0 to {len(setting.sites) - 1}."
            )
        return _HeadRouterRun(self, setting)


@final
class _HeadRouterRun(MethodRun):
    def __init__(self, method: HeadRouter, setting: Setting):
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
            elif self._method.image_tokens == "features" and event.site.index in self._feature_sites:
                self._refine_features(event, row)
            if self._method.gamma > 0 and item.pair is not None:
                source, edit = output[item.pair], output[place]
                gain = self._weights(event, item.row, source, edit)[:, None, None] - 1
                if self._method.where != "everywhere":
                    gain = gain * self._reach(event, place)[:, None]
                heads.amplify_(row, gain, edit, source if self._method.amplify == "difference" else None)
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


@final
class NoMethod(Method):
    """Steers nothing: the plain trajectory."""

    @property
    def requires(self) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def begin(self, setting: Setting) -> MethodRun:
        """Take part in a run by doing nothing."""
        return _NoMethodRun()


@final
class _NoMethodRun(MethodRun):
    def needs(self, step: int) -> Needs:
        return Needs()

    def evidence(self) -> Mapping[str, Tensor]:
        return {}
