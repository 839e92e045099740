"""Define the interface of backbones, and the listener that receives their attention events."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

from jaxtyping import Float
from torch import Tensor, device

from headrouter import renamed
from headrouter.attention.joint_attention import JointAttention, Site, TextStream, TokenLayout
from headrouter.attention.rows import BatchRow, Row, classifier_free
from headrouter.attention.step_info import StepInfo
from headrouter.config.configuration import Parameters
from headrouter.models.fingerprint import fingerprint, modules_of, tensors_of
from headrouter.prompts.prompt import Prompt


class AttentionListener(renamed.Renamed, ABC, renamed={"clock": "step_info"}):
    """Receives the attention events and text streams of a model while it is attached."""

    @property
    @abstractmethod
    def step_info(self) -> StepInfo:
        """Return the phase, step and noise level of the current forward pass; the caller of the model keeps it current."""

    @property
    def finished(self) -> bool:
        """Return whether its run has ended, so that another listener may be attached in its place."""
        return False

    @abstractmethod
    def begin_forward(self, rows: tuple[BatchRow, ...], layout: TokenLayout) -> None:
        """Begin a forward pass of these rows."""

    @abstractmethod
    def attention(self, event: JointAttention) -> Float[Tensor, "rows heads tokens channels"]:
        """Return the per-head output of this attention, usually ``event.attend()``."""

    def image_attention(self, event: JointAttention) -> Float[Tensor, "rows heads tokens channels"]:
        """Return the per-head output of attention among image tokens alone, whose layout has no text; unchanged by default."""
        return event.attend()

    @abstractmethod
    def text(self, stream: TextStream) -> Float[Tensor, "rows tokens channels"]:
        """Return the text stream that enters this block, usually ``stream.hidden`` itself."""


@final
@dataclass(frozen=True, slots=True)
class Defaults:
    """Holds the settings of a model that apply where the user gives none.

    Attributes:
        steps: Sampling steps.
        guidance: Guidance while sampling.
        area: Pixels of a training picture, width times height; 0 where the model names none, so that `size` must be given.
        word_blocks: Joint sites whose attention shows best where a word acts, best first; empty if they are not ranked.
    """

    steps: int
    guidance: float
    area: int
    word_blocks: tuple[int, ...] = ()


class Backbone(ABC):
    """Drives a multimodal diffusion transformer with its text encoders, autoencoder and time grid.

    Latents are float32 ``[rows, channels, h, w]``, on :attr:`device`, scaled as the model is trained. Noise level σ runs from 1
    (noise) to 0 (picture), x_σ = (1−σ)·x_0 + σ·ε, and the velocity is dx/dσ ≈ ε − x_0, whatever sign and time scale the model
    itself uses.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Return a short name with the model, for messages and records."""

    @property
    @abstractmethod
    def provides(self) -> frozenset[str]:
        """Return the capability words, see ``docs/plugins/interfaces.md``."""

    @property
    @abstractmethod
    def sites(self) -> tuple[Site, ...]:
        """Return the joint attention sites in execution order; ``sites[i].index == i``."""

    @property
    def image_sites(self) -> tuple[Site, ...]:
        """Return the sites where image tokens attend among themselves alone, by their blocks' numbers; none by default."""
        return ()

    @property
    def packs_latents(self) -> bool:
        """Return whether the transformer takes latents packed into tokens (Flux), not as a grid (SD3); methods may differ there."""
        return False

    @property
    def most_references(self) -> int:
        """Return the largest number of reference pictures that the model is given beside the new one; 0 by default: none."""
        return 0

    @property
    def largest_reference(self) -> int:
        """Return the number of pixels that a reference picture may have; an eighth beyond the training area by default."""
        return self.defaults.area + self.defaults.area // 8

    @property
    def reads_references(self) -> bool:
        """Return whether prompts are encoded together with the reference pictures, so that they depend on them."""
        return False

    @property
    @abstractmethod
    def device(self) -> device:
        """Return the device that the model computes on."""

    @property
    @abstractmethod
    def defaults(self) -> Defaults:
        """Return steps, guidance and picture area that suit this model."""

    @property
    @abstractmethod
    def size_multiple(self) -> int:
        """Return the number of pixels that width and height must be multiples of."""

    @abstractmethod
    def encode_prompts(self, texts: Sequence[str]) -> list[Prompt]:
        """Encode prompts, each to a number of text tokens of its own, or all to the same number.

        A prompt carries where its words are (``tokens``) and which axes of its tensors run over text tokens (``text_axes``), so
        that prompts of different lengths can share a batch, see :mod:`headrouter.prompts.batch`.

        Raises:
            InvalidInputError: a prompt is longer than the encoders take; the message says what would be cut.
        """

    def encode_instructions(
        self, texts: Sequence[str], references: Sequence[Float[Tensor, "1 3 height width"]]
    ) -> list[Prompt]:
        """Encode prompts for a run with these reference pictures, in [−1, 1]; as :meth:`encode_prompts` does by default."""
        return self.encode_prompts(texts)

    @abstractmethod
    def encode_image(self, pixels: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images channels h w"]:
        """Return latents of pictures in [−1, 1]: the mode of the autoencoder's distribution."""

    @abstractmethod
    def decode(self, latents: Float[Tensor, "rows channels h w"]) -> Float[Tensor, "rows 3 height width"]:
        """Return pictures of latents, float32 in about [−1, 1], not clipped."""

    @abstractmethod
    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Return channels, rows and columns of the latents of a picture of ``width`` × ``height`` pixels."""

    @abstractmethod
    def sigmas(self, steps: int, width: int, height: int) -> Float[Tensor, "steps_plus_1"]:
        """Return the model's own time grid, float64 on the CPU: from (about) 1 down to 0, ``steps + 1`` values."""

    @abstractmethod
    def velocity(
        self, latents: Float[Tensor, "rows channels h w"], sigma: float, rows: Sequence[Row]
    ) -> Float[Tensor, "rows channels h w"]:
        """Return dx/dσ of each row under its own prompt, guidance and reference pictures, float32, from one model call."""

    def combine(
        self,
        unconditional: Float[Tensor, "channels h w"],
        conditional: Float[Tensor, "channels h w"],
        guidance: float,
        sigma: float,
    ) -> Float[Tensor, "channels h w"]:
        """Combine the two branches of guidance of one row, float32: u + g·(c − u) unless overridden.

        A model whose stock pipeline rescales or projects guidance does so here; see :mod:`headrouter.attention.guidance`. It is
        a function of its arguments alone, and is not asked for a guidance of 0 or 1, where one branch is the velocity. Where rows
        share a branch it is asked outside of :meth:`velocity` too.

        Args:
            unconditional, conditional: Velocities dx/dσ under the negative prompt and the prompt.
            guidance: The row's guidance.
            sigma: The noise level.
        """
        return classifier_free(unconditional, conditional, guidance)

    @abstractmethod
    def batch_size(self, rows: Sequence[Row]) -> int:
        """Return the number of rows that the model sees for one velocity of ``rows``, guidance included."""

    def fingerprint(self) -> str:
        """Return a hash of the weights: the same for the same weights, wherever they were loaded from.

        Asked before each run, since weights may change between two. Covers the parameters and buffers of every torch module among
        the backbone's attributes, and theirs, unless overridden; see :func:`headrouter.models.fingerprint.fingerprint`.
        """
        return fingerprint(pair for path, module in modules_of(self).items() for pair in tensors_of(module, f"{path}."))

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the parameters, as plain data, that velocities depend on beside the weights; none by default."""
        return {}

    @abstractmethod
    def attach(self, listener: AttentionListener) -> AbstractContextManager[None]:
        """Send every attention event and text stream of the model to ``listener``, until the context ends.

        Afterwards, and after any exception, the model is what it was. A second listener at the same time is refused.
        """


class BackboneParameters(Parameters, ABC):
    """Sets how a backbone is loaded. A subclass may add fields of its own; :meth:`load` gives the backbone."""

    device: str = "auto"
    """``auto`` (CUDA, then MPS, then CPU) or a device of PyTorch."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the weights; ``auto`` is bfloat16 on an accelerator and float32 on the CPU."""
    offload: Literal["none", "model", "group"] = "none"
    """``model`` and ``group`` keep the weights in main memory and bring each model, or each group of layers, to the device when
    it runs."""

    @abstractmethod
    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model.

        Args:
            source: Hub id or local folder.
            pipeline: An already loaded pipeline to use as it is, with its LoRA weights and quantisation, instead of loading.
            defaults: Defaults of the model, where the caller knows them; otherwise the model's configuration decides.

        Raises:
            WeightsError: weights missing, gated, damaged, or pickled.
        """


if not TYPE_CHECKING:
    __getattr__ = renamed.names(__name__, Listener="AttentionListener")
