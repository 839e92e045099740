"""The common part of backbones that drive a diffusers pipeline.

A subclass declares where its transformer attends, which text encoders feed it, how a latent becomes tokens, which time
grid suits it and how it is called.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, final

import torch
from headrouter_diffusers.quiet import without_notes_on_length
from jaxtyping import Float
from torch import Tensor

from headrouter.attention.joint_attention import Site, TokenLayout
from headrouter.attention.rows import BatchRow, Row, batch_rows, guided_velocity
from headrouter.errors import InvalidInputError
from headrouter.models.backbone import AttentionListener, Backbone, BackboneParameters, Defaults
from headrouter.models.surroundings import undisturbed
from headrouter.prompts.marks import without_marks
from headrouter.prompts.prompt import Prompt
from headrouter.prompts.spelling import Spelling
from headrouter_diffusers import autoencoder
from headrouter_diffusers.content import pipeline_fingerprint
from headrouter_diffusers.fitness import blaming, refuse_unfit
from headrouter_diffusers.parameters import DiffusersParameters
from headrouter_diffusers.running import exclusively
from headrouter_diffusers.schedulers import grid_of
from headrouter_diffusers.sites import SiteRule
from headrouter_diffusers.tap import Tap
from headrouter_diffusers.text_parts import TOKENIZING, TextPart, as_tokenized, check_length

_MACHINE = set(DiffusersParameters.model_fields)


class DiffusersBackbone(Backbone, ABC):
    """A backbone over a diffusers pipeline with one transformer, one autoencoder and a flow-matching scheduler."""

    family: str
    """Name of the backbone, for messages and records."""
    rules: ClassVar[tuple[SiteRule, ...]]
    """Where its transformer attends."""
    text_first: ClassVar[bool]
    """Whether text precedes the image in the joint sequence."""
    registers: ClassVar[int] = 0
    """Number of learnt tokens that stand before the text and enter the blocks with it."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Parts of the pipeline that an edit can do without."""
    packed: ClassVar[int] = 1
    """Number of latents that the adapter packs into one input of the transformer."""

    def __init__(self, source: str, pipeline: Any, defaults: Defaults | None = None):
        """``source`` names the weights in messages; ``defaults`` win over the model's own."""
        self._which = f"`pipeline` ({source})"
        refuse_unfit(pipeline, self._which, optional=self.optional, packed=self.packed)
        self.pipeline = pipeline
        self._source = source
        self._placed: dict[Any, tuple[torch.device, torch.dtype]] = {}
        with blaming(self._which, "be set up"):
            self._tap = Tap(pipeline.transformer, self.rules)
            self._parts = tuple(self._text_parts())
            self._defaults = defaults or self._own_defaults()

    # Declared by a subclass.

    @property
    @abstractmethod
    def _patch(self) -> int:
        """Side of the square of latents that becomes one token."""

    @property
    @abstractmethod
    def _guided(self) -> bool:
        """Whether guidance takes two evaluations."""

    @abstractmethod
    def _own_defaults(self) -> Defaults:
        """Return the defaults that the model's configuration gives."""

    @abstractmethod
    def _text_parts(self) -> Sequence[TextPart]:
        """The text encoders that there are, the leading one last: a prompt that it would cut is refused."""

    @abstractmethod
    def _segments(self, length: int) -> tuple[tuple[str, int], ...]:
        """Parts of a joint text of ``length`` tokens, see :class:`headrouter.attention.joint_attention.TokenLayout`."""

    @abstractmethod
    def _encode_prompt(self, text: str) -> Mapping[str, Tensor]:
        """What the transformer is conditioned on, ``prompt_embeds`` [1, text tokens, channels] among it."""

    @abstractmethod
    def _set_steps(self, scheduler: Any, steps: int, tokens: int) -> None:
        """Set the time grid of ``scheduler`` as the stock pipeline does for this number of image tokens."""

    @abstractmethod
    def _predict(
        self, latents: Float[Tensor, "batch channels h w"], sigma: float, batch: Sequence[BatchRow]
    ) -> Float[Tensor, "batch channels h w"]:
        """Velocity of each row of the batch; the latents are on the device and in the transformer's dtype."""

    # Common to all of them.

    @property
    @final
    def name(self) -> str:
        """Backbone and weights."""
        return f"{self.family} ({self._source})"

    @property
    @final
    def provides(self) -> frozenset[str]:
        """Capability words."""
        words = {"joint-attention", "text-stream", "guidance", "encode-image"}
        if all(part.tells_words for part in self._parts if part.start is not None):
            words.add("prompt-words")
        if self._guided:
            words.add("negative-prompt")
        if any(site.stream == "single" for site in self.sites):
            words.add("single-stream")
        if self._tap.image_sites:
            words.add("image-attention")
        return frozenset(words)

    @property
    @final
    def sites(self) -> tuple[Site, ...]:
        """Joint attention sites in execution order."""
        return self._tap.sites

    @property
    @final
    def image_sites(self) -> tuple[Site, ...]:
        """Attention among image tokens only."""
        return self._tap.image_sites

    @property
    @final
    def device(self) -> torch.device:
        """Where the model computes; with offloading, where it is brought to. Read anew: what a run asks first."""
        self._placed.clear()
        return self._placement()[0]

    def _placement(self) -> tuple[torch.device, torch.dtype]:
        """Return the device and the number type of the transformer's inputs.

        Both are walks over all modules, so they are kept until ``device`` is asked, or the transformer's first weight is
        moved, converted or given hooks.
        """
        transformer = self.pipeline.transformer
        weight = next(transformer.parameters())
        hooks = tuple(id(vars(transformer).get(name)) for name in ("_hf_hook", "_diffusers_hook"))
        where = (weight.device, weight.dtype, hooks)
        if where not in self._placed:
            self._placed[where] = (torch.device(self.pipeline._execution_device), transformer.dtype)
        return self._placed[where]

    @property
    @final
    def defaults(self) -> Defaults:
        """Steps, guidance and picture area."""
        return self._defaults

    @property
    @final
    def size_multiple(self) -> int:
        """Pixels that width and height must be multiples of."""
        return int(self.pipeline.vae_scale_factor) * self._patch

    @final
    @undisturbed()
    def encode_prompts(self, texts: Sequence[str]) -> list[Prompt]:
        """Encode prompts one by one, so that none depends on the others."""
        quiet = without_notes_on_length(type(self.pipeline).__module__)
        with exclusively(self.pipeline.transformer), TOKENIZING, quiet, blaming(self._which, "encode a prompt"):
            spelt = {text: self._spelt(text) for text in texts}
            for text, spellings in spelt.items():
                check_length(text, [(part, spelling.text) for part, spelling in spellings])
            self.pipeline.maybe_free_model_hooks()
            return [
                Prompt(
                    text,
                    self._encode_prompt(without_marks(text).text),
                    tuple(token for part, spelling in spelt[text] for token in part.tokens(spelling)),
                )
                for text in texts
            ]

    def _spelt(self, text: str) -> list[tuple[TextPart, Spelling]]:
        """Return each text encoder with the text that the pipeline gives its tokenizer."""
        convert = getattr(self.pipeline, "maybe_convert_prompt", None)
        return [(part, as_tokenized(without_marks(text), part.tokenizer, convert)) for part in self._parts]

    @final
    @undisturbed()
    def encode_image(self, pixels: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images channels h w"]:
        """Latents of pictures in [−1, 1]."""
        self.latent_shape(pixels.shape[-1], pixels.shape[-2])
        with exclusively(self.pipeline.transformer), blaming(self._which, "encode a picture"):
            return autoencoder.encode(self.pipeline.vae, pixels, self.device)

    @final
    @undisturbed()
    def decode(self, latents: Float[Tensor, "rows channels h w"]) -> Float[Tensor, "rows 3 height width"]:
        """Pictures of latents."""
        with exclusively(self.pipeline.transformer), blaming(self._which, "decode latents"):
            return autoencoder.decode(self.pipeline.vae, latents, self.device)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Channels, rows and columns of the latents of a picture."""
        for name, value in (("width", width), ("height", height)):
            if value <= 0 or value % self.size_multiple:
                raise InvalidInputError(
                    f"`{name}` must be a multiple of {self.size_multiple} pixels for {self.family}, not {value}."
                )
        scale = int(self.pipeline.vae_scale_factor)
        return int(self.pipeline.vae.config.latent_channels), height // scale, width // scale

    @final
    @undisturbed()
    def sigmas(self, steps: int, width: int, height: int) -> Float[Tensor, "steps_plus_1"]:
        """The grid of the pipeline's own scheduler, which stays as it is."""
        if steps < 1:
            raise InvalidInputError(f"`steps` must be at least 1, not {steps}.")
        _, rows, columns = self.latent_shape(width, height)
        tokens = (rows // self._patch) * (columns // self._patch)
        return grid_of(
            self.pipeline.scheduler, steps, lambda copied: self._set_steps(copied, steps, tokens), self._which
        )

    @final
    @undisturbed()
    def velocity(
        self, latents: Float[Tensor, "rows channels h w"], sigma: float, rows: Sequence[Row]
    ) -> Float[Tensor, "rows channels h w"]:
        """dx/dσ of each row, float32, from one call of the transformer."""

        device, dtype = self._placement()

        def predict(halves: Tensor, batch: tuple[BatchRow, ...]) -> Tensor:
            layout = self._layout(halves, int(batch[0].prompt.tensors["prompt_embeds"].shape[1]))
            with exclusively(self.pipeline.transformer), self._tap.forward(batch, layout):
                return self._predict(halves.to(device, dtype), sigma, batch)

        return guided_velocity(predict, latents.to(device), rows, guided=self._guided)

    @final
    def batch_size(self, rows: Sequence[Row]) -> int:
        """How many rows the transformer sees for one velocity of ``rows``."""
        return len(batch_rows(rows, guided=self._guided))

    @final
    def fingerprint(self) -> str:
        """Return a hash of the pipeline's weights and settings as they are now."""
        with exclusively(self.pipeline.transformer):
            return pipeline_fingerprint(self.pipeline)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the ``_parameters`` of a subclass, without those that only say where and how precisely to compute."""
        given = getattr(self, "_parameters", None)
        return given.model_dump(mode="json", exclude=_MACHINE) if isinstance(given, BackboneParameters) else {}

    @final
    def attach(self, listener: AttentionListener) -> AbstractContextManager[None]:
        """Send the transformer's attention events to ``listener`` until the context ends."""
        return self._tap.attach(listener)

    @final
    def _layout(self, latents: Tensor, text: int) -> TokenLayout:
        grid = (latents.shape[-2] // self._patch, latents.shape[-1] // self._patch)
        image = grid[0] * grid[1]
        image_at, registers_at = (self.registers + text, 0) if self.text_first else (0, image)
        text_at = registers_at + self.registers
        return TokenLayout(
            slice(text_at, text_at + text),
            slice(image_at, image_at + image),
            grid,
            self._segments(text),
            registers=slice(registers_at, text_at),
        )

    @final
    def _conditioning(self, batch: Sequence[BatchRow], name: str) -> Tensor:
        """One tensor of the prompts of a batch, [batch, ...], on the device and in the transformer's dtype."""
        stacked = torch.cat([item.prompt.tensors[name] for item in batch])
        device, dtype = self._placement()
        return stacked.to(device, dtype)
