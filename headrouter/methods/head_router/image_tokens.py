"""Refine image tokens: strengthen text where it already acts most, arXiv:2411.15034, eq. 19–20.

On the conditional row of each edit, for image queries i and text keys j, each attention probability is multiplied by a weight
ŵ[i, j]; rows are not renormalised. The release multiplies the output features of image tokens instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, final

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.kernels import taking
from headrouter.config.configuration import Parameters
from headrouter.errors import InvalidInputError
from headrouter.methods.head_router.pass_over_edits import steered
from headrouter.methods.head_router.rows import Edits, changed_positions
from headrouter.methods.head_router.steering import Extent, Refinement
from headrouter.methods.head_router.token_weights import Form, feature_weights
from headrouter.methods.head_router.window import Window, refuse_without_source
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.methods.step_means import StepMeans

EXTENT: Final = "extent"
"""Name under which how far weights of tokens go is kept."""


class ImageTokenParameters(Parameters):
    """Selects the tokens that are refined, and the reading of eq. 19."""

    image_tokens: Literal["attention", "features", "off"] = Field(
        "attention", description="Refine image tokens through A (paper), through output features (release), or not."
    )
    token_form: Form = Field("share", description="Reading of eq. 19.")
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

    @property
    def amplitude(self) -> float:
        """Return ν, or its default for the form."""
        return self.nu if self.nu is not None else 5.0 if self.token_form == "literal" else 2.0


@final
class ImageTokenRefinement(ImageTokenParameters, Window, Method):
    """Strengthens the text's hold on image tokens, without the other parts of HeadRouter."""

    @property
    def requires(self) -> frozenset[str]:
        """Require attention, and positions of words where words are the keys."""
        return image_tokens_require(self)

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: changed words are asked for, and there is no source.
            InvalidInputError: a layer that the model does not have, or an impossible combination.
        """
        if self.image_tokens == "off":
            raise InvalidInputError("`method.image_tokens` 'off' leaves nothing to refine; leave the method out.")
        return ImageTokenRun(self, self, context)


def image_tokens_require(parameters: ImageTokenParameters) -> frozenset[str]:
    """Return the capability words that the refinement of image tokens needs."""
    looks_at_words = parameters.image_tokens == "attention" and parameters.keys != "all"
    return frozenset({"joint-attention", *({"prompt-words"} if looks_at_words else ())})


@final
class ImageTokenRun(MethodRun):
    """Refines image tokens in one run."""

    def __init__(self, parameters: ImageTokenParameters, window: Window, context: RunContext):
        """Begin a run in ``context``."""
        if parameters.image_tokens == "attention" and parameters.keys == "changed":
            refuse_without_source(context, "`method.keys` 'changed'", "keys='words'")
        if parameters.image_tokens == "features" and parameters.token_form == "share":
            raise InvalidInputError(
                "`method.token_form` 'share' would have no effect with `image_tokens` 'features': features have signs. "
                "Choose 'literal' "
                "or 'centred'."
            )
        self._parameters, self._steps, sites = parameters, window.steps(context), window.sites(context)
        acts = parameters.image_tokens != "off"
        self._needs = Needs(attention=frozenset(site.index for site in sites) if acts else frozenset())
        singles = {site.index for site in sites if site.stream == "single"}
        self._feature_sites = singles or {site.index for site in sites}
        self._changed = changed_positions(context)
        self._means = StepMeans(context)

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def text_keys(self, event: JointAttention) -> Mapping[int, Sequence[int]]:
        if self._parameters.image_tokens != "attention":
            return {}
        return {place: self._keys(event, place) for place, item in enumerate(event.rows) if item.is_edit}

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        return steered(event, output, None, self)

    def refinements(self, event: JointAttention, edits: Edits) -> Iterator[tuple[slice, Refinement]]:
        """Yield what is added to image tokens of one picture's edits by eq. 20, for some heads after the others."""
        chosen, text = self._parameters, event.layout.text
        positions = [self._keys(event, place) for place in edits.places]
        if chosen.image_tokens != "attention" or not any(positions):
            return
        keys, value = tuple(map(len, positions)), event.value[edits.batch][:, :, text]
        if len(set(positions)) == 1:
            value = value[:, :, taking(positions[0], value.device)]
        else:
            value = torch.stack(
                [
                    functional.pad(own[:, taking(where, own.device)], (0, 0, 0, max(keys) - len(where)))
                    for own, where in zip(value, positions, strict=True)
                ]
            )
        for heads, block in event.text_to_image_of(edits.places, positions):
            amplitude, form = chosen.amplitude, chosen.token_form
            yield heads, Refinement(block, value[:, heads], keys, chosen.alpha, amplitude, form)

    def report(self, event: JointAttention, edits: Edits, extents: Sequence[Extent]) -> None:
        """Count how far weights of tokens went, in all heads."""
        whole = extents[0]
        if len(extents) > 1:
            change, largest, smallest = torch.stack(list(extents)).unbind(dim=-1)
            whole = torch.stack([change.sum(dim=0), largest.amax(dim=0), smallest.amin(dim=0)], dim=-1)
        _, heads, tokens, _ = event.query[:, :, event.layout.image].shape
        for own, row, place in zip(whole, edits.rows, edits.places, strict=True):
            if keys := len(self._keys(event, place)):
                self._means.add(EXTENT, event, row, own, heads * tokens * keys)

    def refine_features_(self, event: JointAttention, edit: Float[Tensor, "edits heads tokens channels"]) -> None:
        """Write refined features over those of image tokens, as released, in single-stream blocks where there are any."""
        chosen, image = self._parameters, edit[:, :, event.layout.image]
        if chosen.image_tokens != "features" or event.site.index not in self._feature_sites:
            return
        form: Literal["literal", "centred"] = "literal" if chosen.token_form == "literal" else "centred"
        image.copy_(feature_weights(image, chosen.alpha, chosen.amplitude, form).mul_(image))

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``token_weight_change``, mean |ŵ − 1|, and ``token_weight_ratio``, max ŵ / min ŵ, of any α, [edit, step, layer].

        Means over the evaluations of a step; NaN where there was none.
        """
        if EXTENT not in self._means:
            return {}
        return {
            "token_weight_change": self._means.mean(EXTENT, lambda extents, numbers: extents[:, 0] / numbers),
            "token_weight_ratio": self._means.mean(EXTENT, lambda extents, _: extents[:, 1] / extents[:, 2]),
        }

    def _keys(self, event: JointAttention, place: int) -> tuple[int, ...]:
        """Return positions within the text of the keys that are refined."""
        row, keys = event.rows[place].row, self._parameters.keys
        if keys == "all":
            return tuple(range(event.text_of(place)))
        return row.prompt.positions if keys == "words" else self._changed.get(row, ())
