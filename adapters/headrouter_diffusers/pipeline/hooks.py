"""Declare what a backbone that drives a diffusers pipeline says of its model."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from headrouter.attention.rows import BatchRow
from headrouter.models.backbone import Backbone, Defaults
from headrouter_diffusers import autoencoder
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.text_parts import TextPart


class PipelineHooks(Backbone, ABC):
    """Declares where a transformer attends, what feeds it and how it is called; hooks with a body have it as their default."""

    family: str
    """Name of the backbone, for messages and records."""
    kind: ClassVar[type]
    """Class of the pipeline that it drives."""
    large: ClassVar[tuple[str, ...]] = ("transformer",)
    """Parts of the pipeline that `quantize` means when it names a format alone."""
    released: ClassVar[tuple[str, ...]] = ()
    """Hub ids of released pipelines, one of which completes a single file; the one to assume first."""
    rules: ClassVar[tuple[SiteRule, ...]]
    """Where its transformer attends."""
    text_first: ClassVar[bool]
    """Whether text precedes the image in the joint sequence."""
    registers: ClassVar[int] = 0
    """Number of learnt tokens that stand before the text and enter the blocks with it."""
    filled_to: ClassVar[int] = 1
    """Text and image are each filled up with learnt tokens, behind their own, to a multiple of so many."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Parts of the pipeline that an edit can do without."""
    packed: ClassVar[int] = 1
    """Number of the autoencoder's latents that become one input of the transformer."""
    films: ClassVar[bool] = False
    """Whether the autoencoder takes films [rows, channels, frames, h, w]; a picture is a film of one frame."""
    most_references: ClassVar[int] = 0
    """Largest number of reference pictures, whose tokens follow those of the image."""
    keeps_no_tensor: ClassVar[bool] = False
    """Whether the transformer keeps none of the tensors that it makes in a call."""
    instructed: ClassVar[bool] = False
    """Whether the model edits by instructions alone: it is made for a reference picture, and not for captions."""
    text_axes: ClassVar[Mapping[str, tuple[int, ...]]] = {"prompt_embeds": (1,)}
    """Axes that run over text tokens, by name of a tensor of :meth:`encode_prompt`: embeddings, and masks of any rank."""

    pipeline: Any
    """The diffusers pipeline."""
    parts: tuple[TextPart, ...]
    """What :meth:`text_parts` returned."""

    @property
    @abstractmethod
    def patch(self) -> int:
        """Return the side of the square of latents that becomes one image token, for instance 2."""

    @property
    @abstractmethod
    def guided(self) -> bool:
        """Return whether guidance takes two evaluations; False if the model takes it as a number."""

    @property
    def distilled(self) -> bool:
        """Return whether the model is distilled to take no guidance at all, neither by two evaluations nor as a number."""
        return False

    @abstractmethod
    def own_defaults(self) -> Defaults:
        """Return steps, guidance and picture area that the model's configuration gives."""

    @abstractmethod
    def text_parts(self) -> Sequence[TextPart]:
        """Return the text encoders that there are, the leading one last: a prompt that it would cut is refused.

        A part says where its tokens stand in the text of the joint sequence, and which template and padding the pipeline gives it,
        see :class:`headrouter_diffusers.text_parts.TextPart`.
        """

    def segments(self, length: int) -> tuple[tuple[str, int], ...]:
        """Return the text's parts by encoder, (name, number of tokens); all of it is the leading encoder's unless overridden.

        Args:
            length: Number of text tokens, of the longest prompt of a batch.
        """
        return ((self.parts[-1].name, length),)

    @abstractmethod
    def encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        """Return what the transformer is conditioned on for one prompt, as the stock pipeline does.

        Each tensor is [1, ...], ``prompt_embeds`` [1, text tokens, channels] among them. Masks and pooled embeddings are further
        entries; :attr:`text_axes` names the axes that run over text tokens. A prompt may have as many tokens as it needs:
        :meth:`conditioning` fills a batch up to its longest, and :meth:`text_mask` tells which tokens are a prompt's own.
        """

    def encode_instruction(
        self, text: str, references: Sequence[Float[Tensor, "1 3 height width"]]
    ) -> Mapping[str, Tensor]:
        """Return what the transformer is conditioned on for one prompt of a run with reference pictures, in [−1, 1].

        As :meth:`encode_prompt` does, without the pictures, unless overridden together with :attr:`reads_references`.
        """
        return self.encode_prompt(text)

    @abstractmethod
    def set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        """Set the time grid of ``scheduler``, a copy, with the shift that the stock pipeline gives it.

        Args:
            scheduler: To be set, by its ``set_timesteps``.
            steps: Number of steps.
            tokens: Number of image tokens, on which some models' shift depends.
        """

    @abstractmethod
    def predict(
        self, latents: Float[Tensor, "batch channels h w"], sigma: float, batch: Sequence[BatchRow]
    ) -> Float[Tensor, "batch channels h w"]:
        """Return the velocity dx/dσ of each row of the batch, from one call of the transformer.

        The batch holds both branches of guidance; do not guide here. σ runs from 1 (noise) to 0 (picture), and dx/dσ points to the
        noise: a model that takes 1000·σ or 1 − σ, or predicts the opposite, is adapted here. Give it the time in the dtype
        that the stock pipeline gives it, which is not always the latents'.

        Args:
            latents: On the device and in the transformer's dtype.
            sigma: The noise level.
            batch: Rows with their conditioning, see :meth:`conditioning`, and ``item.row.guidance`` for models that take it.
        """

    def to_latents(self, raw: Float[Tensor, "images channels h w"]) -> Float[Tensor, "images latent_channels lh lw"]:
        """Turn what the autoencoder gives into latents as the transformer is trained, float32.

        (z − mean) / deviation of each channel where its configuration has ``latents_mean`` and ``latents_std``, or of each channel
        of patches where it has a batch normalisation, else (z − ``shift_factor``) · ``scaling_factor``. Override it, with
        :meth:`from_latents`, :attr:`latent_channels` and :attr:`latent_stride` where needed, for a model that normalises otherwise.
        """
        return autoencoder.normalised(self.pipeline.vae, raw)

    def from_latents(self, latents: Float[Tensor, "rows latent_channels lh lw"]) -> Float[Tensor, "rows channels h w"]:
        """Turn latents into what the autoencoder decodes: the inverse of :meth:`to_latents`, float32."""
        return autoencoder.denormalised(self.pipeline.vae, latents)

    @property
    def latent_channels(self) -> int:
        """Return the number of channels of latents."""
        return autoencoder.channels(self.pipeline.vae) * autoencoder.patches(self.pipeline.vae) ** 2

    @property
    def latent_stride(self) -> int:
        """Return the pixels along the side of one latent."""
        return int(self.pipeline.vae_scale_factor) * autoencoder.patches(self.pipeline.vae)
