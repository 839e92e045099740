"""Implement the common part of backbones that drive a diffusers pipeline.

A subclass declares where its transformer attends, which text encoders feed it, how a latent becomes tokens, which time
grid suits it and how it is called. ``help(DiffusersBackbone)`` shows what there is to declare.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import torch
from headrouter_diffusers.quiet import without_notes_on_length
from jaxtyping import Bool, Float
from torch import Tensor

from headrouter.attention.joint_attention import Site, TokenLayout
from headrouter.attention.rows import BatchRow, Row, batch_size, guided_velocity
from headrouter.compat import first_weight
from headrouter.errors import InvalidInputError
from headrouter.models.backbone import AttentionListener, Backbone, BackboneParameters, Defaults
from headrouter.models.memory import enough_memory
from headrouter.models.surroundings import undisturbed
from headrouter.models.unchanged import KeptFingerprint
from headrouter.prompts.batch import stacked, text_length, text_mask
from headrouter.prompts.marks import without_marks
from headrouter.prompts.prompt import Prompt
from headrouter_diffusers import autoencoder, compat, old_names
from headrouter_diffusers.attention.inference import inference, is_unseen
from headrouter_diffusers.attention.layout import layout_of
from headrouter_diffusers.attention.running import exclusively
from headrouter_diffusers.attention.tap import Tap
from headrouter_diffusers.components.content import pipeline_fingerprint
from headrouter_diffusers.components.fitness import blaming, refuse_unfit
from headrouter_diffusers.components.schedulers import grid_of
from headrouter_diffusers.loading import given_pipeline, load_pipeline
from headrouter_diffusers.parameters import DiffusersParameters
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.text_parts import TOKENIZING, Reading, TextPart, as_tokenized, check_length

_MACHINE = set(DiffusersParameters.model_fields)


class DiffusersBackbone(Backbone, ABC):
    """Drives a diffusers pipeline with one transformer, one autoencoder and a flow-matching scheduler."""

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

    def __init__(
        self,
        source: str,
        pipeline: Any,
        parameters: BackboneParameters | Defaults | None = None,
        defaults: Defaults | None = None,
    ):
        """Check the pipeline and find where it attends.

        Args:
            source: Names the weights in messages.
            pipeline: The diffusers pipeline, as it is.
            parameters: The user's parameters, kept as ``parameters``.
            defaults: Win over the model's own.
        """
        self._which = f"`pipeline` ({source})"
        self.parameters, defaults = old_names.parameters_of(self, parameters, defaults)
        own_latents = type(self).to_latents is not DiffusersBackbone.to_latents
        refuse_unfit(pipeline, self._which, optional=self.optional, packed=self.packed, own_latents=own_latents)
        self.pipeline = pipeline
        self._source = source
        self._placed: dict[Any, tuple[torch.device, torch.dtype, bool]] = {}
        self._within: tuple[torch.device, torch.dtype, bool] | None = None
        self._hashed = KeptFingerprint()
        with blaming(self._which, "be set up"):
            self._tap = Tap(pipeline.transformer, self.rules)
            self.parts = tuple(self.text_parts())
            self._defaults = defaults or self.own_defaults()

    @classmethod
    @final
    def load(
        cls, parameters: DiffusersParameters, source: str, pipeline: object | None, defaults: Defaults | None
    ) -> Self:
        """Load the pipeline that ``source`` names, or take one that is given loaded, as :meth:`BackboneParameters.load` asks."""
        if pipeline is None:
            pipeline = load_pipeline(
                cls.kind,
                source,
                parameters,
                backbone=cls.family,
                optional=cls.optional,
                large=cls.large,
                released=cls.released,
            )
        else:
            pipeline = given_pipeline(cls.kind, pipeline, parameters, backbone=cls.family)
        return cls(source, pipeline, parameters, defaults)

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Take hooks by the names that they had before."""
        super().__init_subclass__(**arguments)
        old_names.take(cls)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Give what had another name before."""
            return old_names.get(self, name)

    # What a subclass declares.

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

    def combine(
        self,
        unconditional: Float[Tensor, "channels h w"],
        conditional: Float[Tensor, "channels h w"],
        guidance: float,
        sigma: float,
    ) -> Float[Tensor, "channels h w"]:
        """Combine the two branches of guidance, float32: u + g·(c − u) unless overridden.

        See :meth:`headrouter.models.backbone.Backbone.combine` and :mod:`headrouter.attention.guidance`.
        """
        return super().combine(unconditional, conditional, guidance, sigma)

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

    # What a subclass may use.

    @final
    def conditioning(self, batch: Sequence[BatchRow], name: str) -> Tensor:
        """Return one tensor of the prompts of a batch, [batch, ...], on the device and in the transformer's dtype.

        Shorter prompts are filled up with zeros on the right, along their text axes. Booleans and integers keep their dtype.
        """
        tensor, (device, dtype, _) = stacked([item.prompt for item in batch], name), self._placement()
        return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)

    @final
    def references(self, batch: Sequence[BatchRow]) -> list[Float[Tensor, "batch channels h w"]]:
        """Return the latents of each reference picture of a batch, on the device and in the transformer's dtype.

        Raises:
            InvalidInputError: more of them than the model takes, or of different sizes in different rows.
        """
        device, dtype, _ = self._placement()
        every = [item.row.references for item in batch]
        if len(every[0]) > self.most_references:
            raise InvalidInputError(
                f"`references`: {self.family} takes {self.most_references or 'no'} reference picture"
                f"{'s' * (self.most_references > 1)}, the edited one included, and this run has {len(every[0])}. Leave some out."
            )
        if len({tuple(one.shape for one in own) for own in every}) > 1:
            raise InvalidInputError(
                "`references` must be of the same number and sizes in all rows that run together; run the pictures one by one."
            )
        return [torch.cat(latents).to(device, dtype) for latents in zip(*every, strict=True)]

    @final
    def text_mask(self, batch: Sequence[BatchRow]) -> Bool[Tensor, "batch tokens"]:
        """Return which text tokens of a batch are a prompt's own, and not filled up, on the device."""
        return text_mask([item.prompt for item in batch], self._placement()[0])

    # Common to all of them.

    @property
    @final
    def name(self) -> str:
        """Return the backbone and the weights."""
        return f"{self.family} ({self._source})"

    @property
    @final
    def provides(self) -> frozenset[str]:
        """Return the capability words."""
        words = {"joint-attention", "text-stream", "encode-image"}
        if not self.distilled:
            words.add("guidance")
        if all(part.tells_words for part in self.parts if part.start is not None):
            words.add("prompt-words")
        if self.guided:
            words.add("negative-prompt")
        if any(site.stream == "single" for site in self.sites):
            words.add("single-stream")
        if self._tap.image_sites:
            words.add("image-attention")
        if self.most_references:
            words.add("reference-pictures")
        if self.instructed:
            words.add("instructions")
        return frozenset(words)

    @property
    @final
    def sites(self) -> tuple[Site, ...]:
        """Return the joint attention sites in execution order."""
        return self._tap.sites

    @property
    @final
    def image_sites(self) -> tuple[Site, ...]:
        """Return the sites where image tokens alone attend."""
        return self._tap.image_sites

    @property
    @final
    def device(self) -> torch.device:
        """Return the device that the model computes on; with offloading, the one it is brought to.

        Read anew: what a run asks first.
        """
        self._placed.clear()
        return self._placement()[0]

    def _placement(self) -> tuple[torch.device, torch.dtype, bool]:
        """Return device and number type of the transformer's inputs, and whether it is called in inference mode.

        All are walks over all modules, so they are kept until ``device`` is asked, or the transformer's first weight is
        moved, converted or given hooks; within one call of the transformer they stay.
        """
        if self._within is not None:
            return self._within
        transformer = self.pipeline.transformer
        weight = first_weight(transformer)
        assert weight is not None
        where = (weight.device, weight.dtype, compat.placement_of(transformer))
        if where not in self._placed:
            unseen = self.keeps_no_tensor and is_unseen(transformer)
            self._placed[where] = (compat.execution_device(self.pipeline), compat.dtype_of(transformer), unseen)
        return self._placed[where]

    @property
    @final
    def defaults(self) -> Defaults:
        """Return steps, guidance and picture area."""
        return self._defaults

    @property
    @final
    def size_multiple(self) -> int:
        """Return the pixels that width and height must be multiples of."""
        return self.latent_stride * self.patch

    @final
    @undisturbed()
    def encode_prompts(self, texts: Sequence[str]) -> list[Prompt]:
        """Encode prompts one by one, so that none depends on the others."""
        return self._encoded(texts, self.encode_prompt)

    @final
    @undisturbed()
    def encode_instructions(
        self, texts: Sequence[str], references: Sequence[Float[Tensor, "1 3 height width"]]
    ) -> list[Prompt]:
        """Encode prompts of a run with reference pictures, one by one."""
        prompts = self._encoded(texts, lambda text: self.encode_instruction(text, references))
        return [self._behind_pictures(prompt) for prompt in prompts] if self.reads_references else prompts

    def _behind_pictures(self, prompt: Prompt) -> Prompt:
        """Return a prompt whose words stand behind tokens of pictures, of which the tokenizer knows nothing."""
        assert prompt.length is not None
        more = prompt.length - Reading(self.parts[-1], without_marks(prompt.text)).cut()[0]
        return replace(prompt, tokens=tuple(replace(own, position=own.position + more) for own in prompt.tokens))

    def _encoded(self, texts: Sequence[str], encode: Callable[[str], Mapping[str, Tensor]]) -> list[Prompt]:
        quiet = without_notes_on_length(type(self.pipeline).__module__)
        with exclusively(self.pipeline.transformer), TOKENIZING, quiet, self._code("encode a prompt"):
            read = {text: self._readings(text) for text in texts}
            for text, readings in read.items():
                check_length(text, readings)
            self.pipeline.maybe_free_model_hooks()
            return [
                Prompt(
                    text,
                    encode(without_marks(text).text),
                    tuple(token for reading in read[text] for token in reading.tokens()),
                    self.text_axes,
                )
                for text in texts
            ]

    def _readings(self, text: str) -> list[Reading]:
        """Return how each text encoder reads what the pipeline gives its tokenizer for a prompt."""
        convert = getattr(self.pipeline, "maybe_convert_prompt", None)
        return [Reading(part, as_tokenized(without_marks(text), part.tokenizer, convert)) for part in self.parts]

    @final
    @undisturbed()
    def encode_image(self, pixels: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images channels h w"]:
        """Return latents of pictures in [−1, 1]."""
        self.latent_shape(pixels.shape[-1], pixels.shape[-2])
        with exclusively(self.pipeline.transformer), self._code("encode a picture"):
            return self.to_latents(
                autoencoder.encode(self.pipeline.vae, pixels, self._placement()[0], films=self.films)
            )

    @final
    @undisturbed()
    def decode(self, latents: Float[Tensor, "rows channels h w"]) -> Float[Tensor, "rows 3 height width"]:
        """Return pictures of latents."""
        with exclusively(self.pipeline.transformer), self._code("decode latents"):
            raw = self.from_latents(latents.float())
            return autoencoder.decode(self.pipeline.vae, raw, self._placement()[0], films=self.films)

    @contextmanager
    def _code(self, what: str) -> Iterator[None]:
        """Run the pipeline's own code for an edit; its errors become sentences."""
        with enough_memory(lambda: self._placement()[0], f"when it was to {what}"), blaming(self._which, what):
            yield

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Return channels, rows and columns of the latents of a picture."""
        for name, value in (("width", width), ("height", height)):
            if value <= 0 or value % self.size_multiple:
                raise InvalidInputError(
                    f"`{name}` must be a multiple of {self.size_multiple} pixels for {self.family}, not {value}."
                )
        return self.latent_channels, height // self.latent_stride, width // self.latent_stride

    @final
    @undisturbed()
    def sigmas(self, steps: int, width: int, height: int) -> Float[Tensor, "steps_plus_1"]:
        """Return the grid of the pipeline's own scheduler, which stays as it is."""
        if steps < 1:
            raise InvalidInputError(f"`steps` must be at least 1, not {steps}.")
        _, rows, columns = self.latent_shape(width, height)
        tokens = (rows // self.patch) * (columns // self.patch)
        return grid_of(
            self.pipeline.scheduler, steps, lambda copied: self.set_steps(copied, steps, tokens), self._which
        )

    @final
    @undisturbed()
    def velocity(
        self, latents: Float[Tensor, "rows channels h w"], sigma: float, rows: Sequence[Row]
    ) -> Float[Tensor, "rows channels h w"]:
        """Return dx/dσ of each row, float32, from one call of the transformer."""

        device, dtype, unseen = self._placement()

        def predict(branches: Tensor, batch: tuple[BatchRow, ...]) -> Tensor:
            layout = self._layout(branches, text_length([item.prompt for item in batch]), *batch[0].row.references)
            with exclusively(self.pipeline.transformer), self._tap.forward(batch, layout):
                self._within = device, dtype, unseen
                try:
                    with inference(unseen):
                        found = self.predict(branches.to(device, dtype), sigma, batch)
                    return found.clone() if found.is_inference() else found
                finally:
                    self._within = None

        def combine(unconditional: Tensor, conditional: Tensor, guidance: float) -> Tensor:
            return self.combine(unconditional, conditional, guidance, sigma)

        return guided_velocity(predict, latents.to(device), rows, guided=self.guided, combine=combine)

    @final
    def batch_size(self, rows: Sequence[Row]) -> int:
        """Return the number of rows that the transformer sees for one velocity of ``rows``."""
        return batch_size(rows, guided=self.guided)

    @final
    def fingerprint(self) -> str:
        """Return a hash of the pipeline's weights and settings as they are now."""
        with exclusively(self.pipeline.transformer):
            return pipeline_fingerprint(self.pipeline, self._hashed)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the parameters, without those that only say where and how precisely to compute."""
        given = self.parameters
        return given.model_dump(mode="json", exclude=_MACHINE) if isinstance(given, BackboneParameters) else {}

    @final
    def attach(self, listener: AttentionListener) -> AbstractContextManager[None]:
        """Send the transformer's attention events to ``listener`` until the context ends."""
        return self._tap.attach(listener)

    @final
    def _layout(self, latents: Tensor, text: int, *references: Tensor) -> TokenLayout:
        grids = tuple((each.shape[-2] // self.patch, each.shape[-1] // self.patch) for each in (latents, *references))
        return layout_of(self.text_first, self.filled_to, self.registers, text, grids, self.segments(text))
