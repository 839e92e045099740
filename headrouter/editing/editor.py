"""Compose a backbone, an inversion and methods, by name or by object, in an editor.

>>> from headrouter.testing.toy import ToyMMDiT
>>> editor = Editor(ToyMMDiT(), "euler", "none", progress=False)
>>> picture = Image.new("RGB", (32, 32), "teal")
>>> editor.edit(picture, prompt="a red square", steps=2).image.size
(32, 32)
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, final

from PIL import Image
from torch import Tensor

from headrouter import renamed
from headrouter.attention.step_info import Phase
from headrouter.config.configuration import python_number
from headrouter.editing.assembly import (
    Methods,
    backbone_of,
    inversion_of,
    methods_of,
    name_of,
    refuse_misfits,
)
from headrouter.editing.batch import Batch, Edited, Task
from headrouter.editing.inverted_latents import InvertedLatents
from headrouter.editing.reconstruction import Reconstruction
from headrouter.editing.record import Record
from headrouter.editing.request import Request, Settled, Size, request_of, settled, working_size_of
from headrouter.editing.result import Later, Result
from headrouter.editing.tuning import settle
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.imaging.picture import Source, to_picture, to_tensor
from headrouter.methods.word_maps import WordMaps
from headrouter.models.backbone import Backbone, BackboneParameters
from headrouter.models.surroundings import undisturbed
from headrouter.sampling.inversion import Inversion


@final
class Editor:
    """Edits pictures by text.

    Args:
        backbone: Name of a registered backbone (``"sd3.5"``, ``"flux"``, ``"sd3"``), its parameters, or a loaded backbone.
        inversion: Name or object of the inversion.
        method: Name or object of what steers the edit, or a list of them, applied in order; None or ``"none"``: nothing.
        model: Short name, hub id, local folder or single file of the weights; the backbone's default if None.
        pipeline: An already loaded diffusers pipeline to use as it is.
        device, dtype, offload: See :class:`~headrouter.models.backbone.BackboneParameters`.
        max_sequence_length: Number of text tokens of a prompt, for backbones that have the parameter; at most what the model takes.
        variant, base, quantize: Variant of the weights, pipeline that completes a single file, and format, of backbones that have
            such parameters: ``variant="fp16"``, ``quantize="nf4"``; see docs/models.md.
        max_rows: Most rows of the picture (its source and edits) in one model call; more edits run one group after the other.
        progress: Show progress bars.

    Raises:
        UnknownNameError, IncompatibleError, WeightsError, InvalidInputError: before any model is loaded, where possible.
    """

    def __init__(
        self,
        backbone: str | Backbone | BackboneParameters = "sd3.5",
        inversion: str | Inversion = "rf",
        method: Methods = "headrouter",
        *,
        model: str | None = None,
        pipeline: object | None = None,
        device: str | None = None,
        dtype: str | None = None,
        offload: str | None = None,
        max_sequence_length: int | None = None,
        variant: str | None = None,
        base: str | None = None,
        quantize: str | Mapping[str, str] | None = None,
        max_rows: int | None = None,
        progress: bool = True,
    ):
        """Compose the parts and load the model."""
        max_rows = python_number(max_rows)
        if max_rows is not None and (type(max_rows) is not int or max_rows < 2):
            raise InvalidInputError(f"`max_rows` must be at least 2, a source and an edit, got {max_rows!r}.")
        if model is not None and not isinstance(model, str):
            raise InvalidInputError(
                f"`model` must be a short name, a hub id or the path of a folder or file, got {model!r}."
            )
        self.inversion = inversion_of(inversion)
        self.methods = methods_of(method)
        given: dict[str, Any] = {"device": device, "dtype": dtype, "offload": offload}
        given |= {"variant": variant, "base": base, "quantize": quantize, "max_sequence_length": max_sequence_length}
        values = {name: value for name, value in given.items() if value is not None}
        self.backbone, self._backbone_record = backbone_of(
            backbone, (self.inversion, *self.methods), model=model, pipeline=pipeline, values=values
        )
        self.max_rows, self.progress = max_rows, progress

    def __repr__(self) -> str:
        """Return the parts as text.

        >>> from headrouter.testing.toy import ToyMMDiT
        >>> Editor(ToyMMDiT(), "euler", None)
        Editor(toy, Euler(steps=None, guidance=None, told='target', fixed_point=0))
        """
        return f"Editor({', '.join([self.backbone.name, repr(self.inversion), *map(repr, self.methods)])})"

    @renamed.keywords(inversion="start")
    @undisturbed()
    def edit(
        self,
        image: Source,
        prompt: str | Sequence[str],
        source_prompt: str = "",
        *,
        negative_prompt: str = "",
        preset: str | None = None,
        keep: float | None = None,
        push: float | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int | Sequence[int] = 0,
        size: Size = "auto",
        start: InvertedLatents | str | os.PathLike[str] | None = None,
        maps: bool = True,
    ) -> Result:
        """Edit a picture.

        Args:
            image: Path, bytes, Pillow image or array.
            prompt: Prompt of the edit; a list gives one edit each, all from one inversion and one batch.
            source_prompt: Prompt that describes the picture; may be empty.
            negative_prompt: Prompt to steer away from, where the model guides in two passes, at another guidance than 1.
            preset: Name of published or measured values, see ``headrouter presets``.
            keep: Share of the source to keep, 0 to 1 (η of ``rf``).
            push: Strength of the edit, from 0 (γ of ``headrouter``).
            steps: Steps of the time grid.
            guidance: Guidance while sampling; 1 is none. In two passes 0, which would leave the prompt out, is refused.
            seed: Of all noise; a list gives one edit of each prompt for each seed, first those of the first prompt. Each is the
                edit of its seed alone; the inversion is shared where it draws no noise.
            size: Width and height to work at, or ``auto``: the model's training area at the picture's aspect.
            start: Inverted latents of the same picture, prompt and settings, from :meth:`invert`, or the file they were saved in.
            maps: Record where each word acts, for :meth:`Result.text_map`.
        """
        values: dict[str, Any] = {"negative_prompt": negative_prompt, "preset": preset, "keep": keep, "push": push}
        values |= {"steps": steps, "guidance": guidance, "seed": seed, "size": size, "maps": maps}
        asked = request_of(prompt=prompt, source_prompt=source_prompt, **values)
        (result,) = self.edit_together([image], asked, start)
        return result

    @undisturbed()
    def edit_together(
        self, images: Sequence[Source], asked: Request, start: InvertedLatents | str | os.PathLike[str] | None = None
    ) -> list[Result]:
        """Edit pictures of one size together, in the same model calls as far as ``max_rows`` allows.

        Args:
            images: As in :meth:`edit`.
            asked: Request for each of them.
            start: As in :meth:`edit`, for a single picture.

        Raises:
            InvalidInputError: pictures of different sizes, or several and one `start`.
        """
        kept = start if start is None or isinstance(start, InvertedLatents) else InvertedLatents.load(start)
        every = [settled(image, asked, self.backbone, self.inversion, self.methods) for image in images]
        batch = self._batch(every, "edit", asked.prompt)
        weights = self.backbone.fingerprint()
        records = [Record.of(one, self.backbone, self._backbone_record, weights, self.max_rows) for one in every]
        edited = batch.edit(None if kept is None else self._kept(kept, every, weights))
        return self._results(every, records, batch, edited)

    @undisturbed()
    def invert(
        self,
        image: Source,
        source_prompt: str = "",
        *,
        negative_prompt: str = "",
        preset: str | None = None,
        keep: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        size: Size = "auto",
    ) -> InvertedLatents:
        """Take a picture to noise once, for several edits.

        Raises:
            IncompatibleError: the inversion inverts nothing, or ``preset`` or ``keep`` changes nothing that it depends on.
        """
        values: dict[str, Any] = {"negative_prompt": negative_prompt, "preset": preset, "keep": keep, "steps": steps}
        asked = request_of(source_prompt=source_prompt, seed=seed, size=size, **values)
        given = settled(image, asked, self.backbone, self.inversion, self.methods, only="inversion")
        if not given.plan.inversion.inverts:
            name = name_of("inversion", given.plan.inversion)
            raise IncompatibleError(
                f"`inversion` {name!r} inverts nothing, so that no latents can be kept. Choose another, such as 'rf'."
            )
        (latents,), cost = self._batch([given], "invert", phase="invert").invert()
        return InvertedLatents(latents, self._identity(given, asked.seed[0], self.backbone.fingerprint()), cost)

    @undisturbed()
    def reconstruct(
        self,
        image: Source,
        source_prompt: str = "",
        *,
        negative_prompt: str = "",
        preset: str | None = None,
        keep: float | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        size: Size = "auto",
    ) -> Reconstruction:
        """Edit the picture with its own prompt, unsteered, and compare: how well the inversion holds it."""
        values: dict[str, Any] = {"negative_prompt": negative_prompt, "preset": preset, "keep": keep, "steps": steps}
        asked = request_of(source_prompt=source_prompt, guidance=guidance, seed=seed, size=size, **values)
        given = settled(image, asked, self.backbone, self.inversion, self.methods, only="reconstruction")
        edited = self._batch([given], "reconstruct").reconstruction().edit()
        (image,) = self._pictures(edited.latents, given.picture.size)
        return Reconstruction.compare(image, given.picture, edited.cost)

    @undisturbed()
    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        negative_prompt: str = "",
        steps: int | None = None,
        guidance: float | None = None,
        seed: int | Sequence[int] = 0,
        size: Size = "auto",
        method: Methods = None,
    ) -> list[Image.Image]:
        """Draw new pictures from prompts, all from the same noise; with several seeds, each prompt from each of them.

        Args:
            prompts: One picture each.
            negative_prompt: Prompt to steer away from.
            steps, guidance, seed: As in :meth:`edit`.
            size: Width and height, or ``auto``: a square of the model's training area.
            method: Methods that steer, as in :class:`Editor`; those that compare with a source are refused.
        """
        asked = request_of(
            prompt=prompts, negative_prompt=negative_prompt, steps=steps, guidance=guidance, seed=seed, size=size
        )
        methods = methods_of(method)
        refuse_misfits(self.backbone.provides, self.backbone.name, methods)
        plan = settle(asked, inversion_of("euler"), methods, self.backbone.defaults)
        drawn = Batch(
            self.backbone,
            plan,
            (Task(asked.prompt, asked.seed),),
            working_size_of(asked.size, (1, 1), self.backbone),
            asked.negative_prompt,
            phase="generate",
            max_rows=self.max_rows,
            label="generate" if self.progress else None,
        ).edit()
        return self._pictures(drawn.latents)

    def _batch(
        self, every: Sequence[Settled], label: str, prompts: tuple[str, ...] = (), *, phase: Phase = "sample"
    ) -> Batch:
        """Return the batch of pictures of which the same is asked."""
        first = every[0]
        if others := {given.picture.size for given in every} - {first.picture.size}:
            sizes = sorted({first.picture.size} | others)
            raise InvalidInputError(f"`images` must be of one size to be edited together, got {sizes}.")
        asked, plan = first.request, first.plan
        words = "prompt-words" in self.backbone.provides
        if prompts and asked.maps and words and not any(isinstance(method, WordMaps) for method in plan.methods):
            plan = replace(plan, methods=(*plan.methods, WordMaps()))
        return Batch(
            self.backbone,
            plan,
            tuple(Task(prompts, asked.seed, asked.source_prompt, to_tensor(one.picture, one.size)) for one in every),
            first.size,
            asked.negative_prompt,
            first.picture.size,
            phase,
            self.max_rows,
            label if self.progress else None,
        )

    def _identity(self, given: Settled, seed: int, weights: str) -> Record:
        return Record.of_inversion(given, seed, self.backbone, self._backbone_record, weights)

    def _kept(self, kept: InvertedLatents, every: Sequence[Settled], weights: str) -> list[Tensor]:
        """Return kept latents for each seed, after refusing those of something else."""
        given, inversion = every[0], every[0].plan.inversion
        if len(every) > 1:
            raise InvalidInputError(f"`start` holds one picture, got {len(every)}; edit each from its own.")
        if not inversion.inverts:
            raise IncompatibleError(
                f"`start` would have no effect: `inversion` {name_of('inversion', inversion)!r} starts from no inversion. "
                "Leave it out."
            )
        for seed in given.request.seed:
            kept.refuse_unless(self._identity(given, seed, weights), (1, *self.backbone.latent_shape(*given.size)))
        return [kept.latents for _ in given.request.seed]

    def _results(
        self, every: Sequence[Settled], records: Sequence[Record], batch: Batch, edited: Edited
    ) -> list[Result]:
        """Return each picture's share of what was edited together."""
        asked = every[0].request
        prompts = tuple(batch.encoded[text] for text in asked.prompt for _ in asked.seed)
        names = [name_of("method", method) for method in batch.plan.methods]
        cost, results = edited.cost.share(len(every)), []
        for place, (given, record) in enumerate(zip(every, records, strict=True)):
            own = slice(place * len(prompts), (place + 1) * len(prompts))
            found = [{key: value[own] for key, value in one.items()} for one in edited.diagnostics]
            start = [latents[place : place + 1] for latents in edited.inverted[:1]]
            reconstructed = partial(self._reconstructed, batch.reconstruction(place), given.picture, start)
            results.append(
                Result(
                    source=given.picture,
                    images=self._pictures(edited.latents[own], given.picture.size),
                    prompts=prompts,
                    seeds=asked.seed * len(asked.prompt),
                    source_prompt=batch.encoded[asked.source_prompt],
                    cost=cost,
                    record=record,
                    diagnostics=list(zip(names, found, strict=True)),
                    _reconstruct=Later(reconstructed),
                )
            )
        return results

    @undisturbed()
    def _reconstructed(self, batch: Batch, picture: Image.Image, start: Sequence[Tensor]) -> Image.Image:
        return self._pictures(batch.edit(start).latents, picture.size)[0]

    def _pictures(self, latents: Tensor, size: tuple[int, int] | None = None) -> list[Image.Image]:
        pictures = [to_picture(self.backbone.decode(row[None])[0]) for row in latents]
        return [one if size in (None, one.size) else one.resize(size, Image.Resampling.LANCZOS) for one in pictures]
