"""HeadRouter as a method: head routing (IARouter) and dual-token refinement (DTR), arXiv:2411.15034.

Every reading of the paper is an option, and the presets ``paper`` and ``release`` are its constants. The defaults are what the
benchmark found best (docs/results.md): a head's weight amplifies what the head does otherwise than in the source's branch, in image
tokens; of the readings of eq. 19 ``share``, on the words that the prompts differ in.
"""

from collections.abc import Mapping
from typing import Literal, final

from pydantic import Field
from torch import Tensor

from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.method import Method, MethodRun, Needs, Setting
from headrouter.moments import Moment
from headrouter.routing import tokens
from headrouter.routing.run import HeadRouterRun


@final
class HeadRouter(Method):
    """Amplify the heads that react to the edit, and the text's hold on image tokens.

    In each chosen layer, for the conditional row of each edit: the dissimilarity to the source's row gives a weight per head; image
    tokens are refined; then the output of each head is multiplied by its weight; features are refined after that, as released.
    Dissimilarity is measured before refinement.
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
        return HeadRouterRun(self, setting)


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
