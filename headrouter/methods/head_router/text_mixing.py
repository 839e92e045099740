"""Refine text tokens: mix each block's text with the block before's, arXiv:2411.15034, sec. 4.2.

"The previous block's input is incorporated as the residual term": t_b ← (1 − ρ)·t_b + ρ·t_{b−1}, t_b the text stream that enters
block b and t_{b−1} the mixed input of the block before, from block 1 on, anew in every forward pass.
"""

from collections.abc import Mapping
from typing import Literal, final

from pydantic import Field
from torch import Tensor

from headrouter.attention.joint_attention import TextStream
from headrouter.config.configuration import Parameters
from headrouter.errors import IncompatibleError
from headrouter.methods.head_router.window import Window
from headrouter.methods.method import Method, MethodRun, Needs, RunContext


class TextMixingParameters(Parameters):
    """Sets the share of text that is mixed, and the blocks."""

    rho: float = Field(0.1, ge=0, lt=1, description="ρ, share of the previous block's text input.")
    text_rows: Literal["edit", "both"] = Field("edit", description="Rows whose text is mixed; the release mixes both.")
    text_blocks: Literal["dual", "all"] = Field(
        "dual", description="Blocks whose text is mixed; the release: dual-stream ones, none where a model has none."
    )


@final
class TextMixing(TextMixingParameters, Window, Method):
    """Mixes each block's text with that of the block before, without the other parts of HeadRouter."""

    @property
    def requires(self) -> frozenset[str]:
        """Return the text stream."""
        return frozenset({"text-stream"} if self.rho > 0 else ())

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            InvalidInputError: a layer that the model does not have.
            IncompatibleError: the model has no block whose text is to be mixed.
        """
        return TextMixingRun(self, self, context, asked=True)


@final
class TextMixingRun(MethodRun):
    """Mixes text in one run."""

    def __init__(
        self, parameters: TextMixingParameters, window: Window, context: RunContext, *, asked: bool | None = None
    ):
        """Begin a run in ``context``; ``asked`` says whether text must be mixed, by default if a parameter is not the usual one."""
        if asked is None:
            usual = {name: field.default for name, field in TextMixingParameters.model_fields.items()}
            asked = any(getattr(parameters, name) != value for name, value in usual.items())
        dual = any(site.stream == "dual" for site in context.sites)
        if asked and parameters.rho > 0 and parameters.text_blocks == "dual" and not dual:
            raise IncompatibleError(
                f"`method.rho` {parameters.rho:g} would have no effect: it mixes the text of dual-stream blocks, and the model has"
                " none. Set `method.text_blocks` to 'all', or `method.rho` to 0."
            )
        self._parameters, self._steps = parameters, window.steps(context)
        mixed = frozenset(
            site.index
            for site in window.sites(context)
            if parameters.rho > 0 and (parameters.text_blocks == "all" or site.stream == "dual")
        )
        self._needs = Needs(text=mixed)
        self._previous: tuple[int, Tensor] | None = None

    def needs(self, step: int) -> Needs:
        return self._needs if step in self._steps else Needs()

    def text(self, stream: TextStream) -> Tensor:
        """Return t_b ← (1 − ρ)·t_b + ρ·t_{b−1}."""
        hidden, rho = stream.hidden, self._parameters.rho
        if self._previous is not None and self._previous[0] == stream.step_info.forward:
            before = self._previous[1]
            if before.shape == hidden.shape:
                hidden = hidden.clone()
                for rows in self._rows(stream):
                    hidden[rows].lerp_(before[rows], rho)
        self._previous = (stream.step_info.forward, hidden)
        return hidden

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return no diagnostics: the effect is given by the parameters."""
        return {}

    def _rows(self, stream: TextStream) -> list[slice]:
        """Return the parts of the batch whose text is mixed."""
        both, parts = self._parameters.text_rows == "both", list[slice]()
        for place, item in enumerate(stream.rows):
            if item.is_edit or (both and item.cfg_branch == "conditional"):
                follows = parts and parts[-1].stop == place
                parts.append(slice(parts.pop().start if follows else place, place + 1))
        return parts
