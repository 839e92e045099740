"""Drive a diffusers pipeline, of which a subclass declares what differs from model to model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, final

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from headrouter.attention.layout import Site
from headrouter.attention.rows import BatchRow, Row, batch_size, guided_velocity
from headrouter.errors import InvalidInputError
from headrouter.models.backbone import AttentionListener, BackboneParameters, Defaults
from headrouter.models.memory import enough_memory
from headrouter.models.surroundings import undisturbed
from headrouter.models.unchanged import KeptFingerprint
from headrouter.prompts.prompt import Prompt
from headrouter_diffusers import autoencoder, old_names
from headrouter_diffusers.attention.inference import inference
from headrouter_diffusers.attention.running import exclusively
from headrouter_diffusers.attention.tap import Tap
from headrouter_diffusers.components.content import pipeline_fingerprint
from headrouter_diffusers.components.fitness import blaming, refuse_unfit
from headrouter_diffusers.components.schedulers import grid_of
from headrouter_diffusers.loading import given_pipeline, load_pipeline
from headrouter_diffusers.parameters import DiffusersParameters
from headrouter_diffusers.pipeline.inputs import CallInputs
from headrouter_diffusers.pipeline.placement import Placement
from headrouter_diffusers.pipeline.prompts import behind_pictures, encoded

_MACHINE = set(DiffusersParameters.model_fields)


class DiffusersBackbone(CallInputs):
    """Drives a diffusers pipeline with one transformer, one autoencoder and a flow-matching scheduler."""

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
        self._placement = Placement(pipeline, self.keeps_no_tensor)
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

        Read anew: what a run asks first. What calls share is let go of.
        """
        self._placement.forget()
        self._last = None
        return self._placement()[0]

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
        return [behind_pictures(prompt, self.parts[-1]) for prompt in prompts] if self.reads_references else prompts

    def _encoded(self, texts: Sequence[str], encode: Callable[[str], Mapping[str, Tensor]]) -> list[Prompt]:
        with exclusively(self.pipeline.transformer), self._code("encode a prompt"):
            return encoded(self.pipeline, self.parts, texts, encode, self.text_axes)

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
        self._last = None
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
        call = self._call(latents, rows)
        device, dtype, unseen = call.place

        def predict(branches: Tensor, batch: tuple[BatchRow, ...]) -> Tensor:
            with exclusively(self.pipeline.transformer), self._tap.forward(batch, call.layout):
                with self._within(call), inference(unseen):
                    found = self.predict(branches.to(device, dtype), sigma, batch)
                return found.clone() if found.is_inference() else found

        def combine(unconditional: Tensor, conditional: Tensor, guidance: float) -> Tensor:
            return self.combine(unconditional, conditional, guidance, sigma)

        return guided_velocity(predict, latents.to(device), rows, combine=combine, batch=call.batch)

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
