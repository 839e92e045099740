"""Combine head routing and dual-token refinement in one method, arXiv:2411.15034.

Every reading of the paper is an option, and the presets ``paper`` and ``release`` are its constants. The defaults are what the
benchmark found best (docs/results.md): a head's weight amplifies what the head does otherwise than in the source's branch, in image
tokens; of the readings of eq. 19 ``share``, on the words that the prompts differ in.
"""

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor

from headrouter.attention.joint_attention import JointAttention, TextStream
from headrouter.methods.head_router.head_routing import (
    HeadRoutingRun,
    RoutingParameters,
    ScoringParameters,
    routing_requires,
)
from headrouter.methods.head_router.image_tokens import ImageTokenParameters, ImageTokenRun, image_tokens_require
from headrouter.methods.head_router.pass_over_edits import steered
from headrouter.methods.head_router.text_mixing import TextMixingParameters, TextMixingRun
from headrouter.methods.head_router.window import Window
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.methods.step_means import StepMeans


@final
class HeadRouter(
    Window, TextMixingParameters, ImageTokenParameters, ScoringParameters, RoutingParameters, Method
):  # fields come in the order of the paper: the last base first
    """Amplifies the heads that react to the edit, and the text's hold on image tokens.

    In each chosen layer, for the conditional row of each edit: heads are scored; image tokens are refined; the output of each
    head is amplified by its weight; features of image tokens, where they are what is refined, come last, as released. Scores are of
    the kernel's own output. The source's row never changes, except by ``rho`` with ``text_rows="both"``.
    """

    @property
    def requires(self) -> frozenset[str]:
        """Return the capability words that the backbone must provide."""
        text = {"text-stream"} if self.rho > 0 else set()
        return routing_requires(self) | image_tokens_require(self) | text

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there is no source row to compare with.
            InvalidInputError: a layer that the model does not have, or an impossible combination.
        """
        return _HeadRouterRun(self, context)


@final
class _HeadRouterRun(MethodRun):
    """Runs the three parts in the paper's order."""

    def __init__(self, method: HeadRouter, context: RunContext):
        means = StepMeans(context)
        self._heads = HeadRoutingRun(method, method, context, method.make_scorer(means), means)
        self._image = ImageTokenRun(method, method, context)
        self._text = TextMixingRun(method, method, context)

    def needs(self, step: int) -> Needs:
        heads, image, text = self._heads.needs(step), self._image.needs(step), self._text.needs(step)
        return Needs(attention=heads.attention | image.attention, text=text.text, pair=heads.pair)

    def text_keys(self, event: JointAttention) -> Mapping[int, Sequence[int]]:
        heads, image = self._acting(event)
        found = [part.text_keys(event) for part in (heads, image) if part is not None]
        places = {place for keys in found for place in keys}
        return {place: tuple({position for keys in found for position in keys.get(place, ())}) for place in places}

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        return steered(event, output, *self._acting(event))

    def text(self, stream: TextStream) -> Tensor:
        return self._text.text(stream)

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return the diagnostics of the parts: see :class:`HeadRoutingRun` and :class:`ImageTokenRun`."""
        return {**self._heads.diagnostics(), **self._image.diagnostics()}

    def _acting(self, event: JointAttention) -> tuple[HeadRoutingRun | None, ImageTokenRun | None]:
        step, site = event.step_info.step, event.site.index
        heads, image = (site in part.needs(step).attention for part in (self._heads, self._image))
        return self._heads if heads else None, self._image if image else None


@final
class NoMethod(Method):
    """Steers nothing: the plain inversion."""

    @property
    def requires(self) -> frozenset[str]:
        """Require no capability."""
        return frozenset()

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run by doing nothing."""
        return _NoMethodRun()


@final
class _NoMethodRun(MethodRun):
    def needs(self, step: int) -> Needs:
        return Needs()

    def diagnostics(self) -> Mapping[str, Tensor]:
        return {}
