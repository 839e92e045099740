"""Define the interface of methods, which steer an edit.

A method is a frozen set of parameters. For each run it makes a :class:`MethodRun`, which holds all state, so one method serves
many runs. Several methods act in the order in which they are listed.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, final

from jaxtyping import Float
from torch import Tensor

from headrouter import renamed
from headrouter.attention.joint_attention import JointAttention, Site, TextStream, TokenLayout
from headrouter.attention.rows import Row
from headrouter.attention.step_info import Phase
from headrouter.config.configuration import Parameters
from headrouter.config.step_or_fraction import step_of
from headrouter.masks.context import MaskContext
from headrouter.masks.mask import Mask, MaskRun


@final
@dataclass(frozen=True, slots=True)
class Needs:
    """Names the events of one step that a method takes part in.

    Attributes:
        attention: Sites whose attention it acts on, by number.
        image_attention: Image-only sites that it acts on, by the numbers of their blocks.
        text: Sites of the blocks whose text stream it acts on, by number.
        latents: Whether it changes the latents after the step.
        pair: Whether it compares with, or copies from, the source's row: in both branches of guidance, or only in the
            ``conditional`` one, so that the source's other branch need not run for it.
    """

    attention: frozenset[int] = frozenset()
    image_attention: frozenset[int] = frozenset()
    text: frozenset[int] = frozenset()
    latents: bool = False
    pair: bool | Literal["conditional"] = False

    def __bool__(self) -> bool:
        """Return whether it takes part at all."""
        return bool(self.latents or self.model)

    @property
    def model(self) -> bool:
        """Return whether it takes part while the model runs."""
        return bool(self.attention or self.image_attention or self.text)


@final
@dataclass(frozen=True, slots=True, eq=False)
class RunContext:
    """Describes the run that a method is about to take part in.

    Attributes:
        phase: ``sample`` or ``generate``; methods do not act in an inversion.
        steps: Number of steps N of the grid.
        sites: The model's joint sites.
        rows: All rows, sources and edits.
        sigmas: The time grid.
        run: Steps that the inversion runs, all or the last of them.
        word_blocks: Sites whose attention shows best where a word acts, best first; empty if they are not ranked.
        size: Width and height of the user's picture in pixels, or None if there is no picture.
        image_sites: Sites where the model attends among image tokens alone; none in most models.
        packed_latents: Whether the model takes its latents packed into tokens, as Flux does, not as a grid.
        masks: Masks of the run.
    """

    phase: Phase
    steps: int
    sites: tuple[Site, ...]
    rows: tuple[Row, ...]
    sigmas: tuple[float, ...]
    run: range
    word_blocks: tuple[int, ...] = ()
    size: tuple[int, int] | None = None
    image_sites: tuple[Site, ...] = ()
    packed_latents: bool = False
    masks: MaskContext | None = None

    def mask(self, mask: Mask, until: int | None = None) -> MaskRun:
        """Return the run of a mask, which gives its value for each edit; parts with an equal mask share it.

        Args:
            mask: The mask.
            until: First step in which it is no longer used; the end of the run if None.

        Raises:
            HeadRouterError: the mask cannot be made in this run.
        """
        assert self.masks is not None, "the engine gives the masks of a run"
        return self.masks.of(mask, until)

    @property
    def edits(self) -> int:
        """Return the number of edit rows."""
        return sum(not row.is_source for row in self.rows)

    def edit_number(self, row: Row) -> int:
        """Return the position of an edit row among the edits of the run."""
        return [other for other in self.rows if not other.is_source].index(row)

    def source_of(self, row: Row) -> Row | None:
        """Return the source's row of an edit's picture, None if the run has none."""
        return next((other for other in self.rows if other.is_source and other.image == row.image), None)

    def first_steps(self, bound: int | float) -> range:
        """Return the first steps of the run, by number or fraction; at least one unless ``bound`` is 0."""
        return self.run[: step_of(bound, len(self.run)) or int(bound > 0)]


class MethodRun(renamed.Renamed, ABC, renamed={"evidence": "diagnostics"}):
    """Steers one run for a method, and holds its state. Hooks that are not overridden change nothing."""

    @abstractmethod
    def needs(self, step: int) -> Needs:
        """Return the events of a step that the method takes part in; must not change within a run."""

    def before(self, event: JointAttention) -> None:
        """Act before attention; may assign new ``query``, ``key``, ``value``."""

    def text_keys(self, event: JointAttention) -> Mapping[int, Sequence[int]]:
        """Return the text positions whose :meth:`JointAttention.text_to_image` is needed after attention, by place in the batch.

        What several methods need is computed together.
        """
        return {}

    def wants_log_sum_exp(self, event: JointAttention) -> bool:
        """Return whether probabilities are needed after this attention, for which the kernel keeps the log-sum-exp."""
        return any(self.text_keys(event).values())

    def after(
        self, event: JointAttention, output: Float[Tensor, "rows heads tokens channels"]
    ) -> Float[Tensor, "rows heads tokens channels"]:
        """Return the per-head output that the model goes on with, after attention.

        Never writes into ``output``, but may into ``event.writable(output)``.
        """
        return output

    def text(self, stream: TextStream) -> Float[Tensor, "rows tokens channels"]:
        """Return the text stream that enters a block."""
        return stream.hidden

    def end_forward(self) -> None:
        """End a forward pass."""

    def end_step(
        self, step: int, latents: Float[Tensor, "rows channels h w"], rows: Sequence[Row]
    ) -> Float[Tensor, "rows channels h w"]:
        """Return the latents after a step; the source's row is in the same space as its edits'."""
        return latents

    def begin_forward(self, layout: TokenLayout) -> None:
        """Begin a forward pass with this layout."""

    @abstractmethod
    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return what the method measured, as tensors on the CPU by name; each method documents its own."""


class Method(Parameters, ABC):
    """Steers edits by its parameters, which are its fields."""

    restores_source: ClassVar[bool] = False
    """Whether it puts the source's latents in the edit's place, so that the source's row should be the picture."""

    @property
    @abstractmethod
    def requires(self) -> frozenset[str]:
        """Return the capability words that the backbone must provide."""

    @abstractmethod
    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run; refuse what cannot work. Asked once more before the inversion, so that it refuses in time."""


if not TYPE_CHECKING:
    __getattr__ = renamed.names(__name__, Setting="RunContext")
