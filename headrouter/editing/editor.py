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
from typing import Any, final

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from headrouter import renamed
from headrouter.attention.rows import Row
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
from headrouter.editing.inverted_latents import InvertedLatents
from headrouter.editing.job import Job, checked_size, grid, own_size, prepare
from headrouter.editing.reconstruction import Reconstruction
from headrouter.editing.record import Record
from headrouter.editing.request import Size, request_of
from headrouter.editing.result import Later, Result, merge_diagnostics
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.imaging.picture import Source, to_picture
from headrouter.methods.word_maps import WordMaps
from headrouter.models.backbone import Backbone, BackboneParameters
from headrouter.models.surroundings import undisturbed
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.cost import Cost
from headrouter.sampling.engine import Engine, Progress, Sampled
from headrouter.sampling.guidance import refuse_idle_prompts
from headrouter.sampling.inversion import Inversion, RunInputs
from headrouter.sampling.noise import Noise


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
        variant, base, quantize: Which weights of several, what completes a single file, and their format, of backbones that have
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
            prompt: What the picture shall show; a list gives one edit each, all from one inversion and one batch.
            source_prompt: What it shows; may be empty.
            negative_prompt: What guidance steers away from, where the model guides in two passes, at another guidance than 1.
            preset: Values that somebody found to work, see ``headrouter presets``.
            keep: How much of the source to keep, 0 to 1 (η of ``rf``).
            push: How strongly to push the edit, from 0 (γ of ``headrouter``).
            steps: Steps of the time grid.
            guidance: Guidance while sampling; 1 is none. In two passes 0, which would leave the prompt out, is refused.
            seed: Of all noise; a list gives one edit of each prompt for each seed, first those of the first prompt. Each is the
                edit of its seed alone; the inversion is shared where it draws no noise.
            size: Width and height to work at, or ``auto``: the model's training area at the picture's aspect.
            start: Inverted latents of the same picture, prompt and settings, from :meth:`invert`, or the file they were saved in.
            maps: Record where each word acts, for :meth:`Result.text_map`.
        """
        asked = request_of(
            prompt=prompt,
            source_prompt=source_prompt,
            negative_prompt=negative_prompt,
            preset=preset,
            keep=keep,
            push=push,
            steps=steps,
            guidance=guidance,
            seed=seed,
            size=size,
            maps=maps,
        )
        kept = start if start is None or isinstance(start, InvertedLatents) else InvertedLatents.load(start)
        job = prepare(image, asked, self.backbone, self.inversion, self.methods)
        settled = job
        if maps and "prompt-words" in self.backbone.provides and not any(isinstance(m, WordMaps) for m in job.methods):
            job = replace(job, methods=(*job.methods, WordMaps()))
        engine = self._engine("edit")
        for group in self._groups(job.targets):
            engine.begin(job.inversion, job.methods, job.rows(group), job.inputs)  # refuses before the model runs
        jobs = [job.at_seed(seed) for seed in asked.seed]
        weights = self.backbone.fingerprint()
        record = Record.of(settled, asked, self.backbone, self._backbone_record, weights, self.max_rows)
        starts = self._starts(jobs, weights, kept)
        runs = [(job, _from(job.inputs, start)) for job, start in zip(jobs, starts, strict=True)]
        groups = [self._sample(*run, group) for run in runs for group in self._groups(job.targets)]
        # Computed seed by seed, shown prompt by prompt.
        count = len(job.targets)
        order = [run * count + number for number in range(count) for run in range(len(runs))]
        latents = torch.cat([sampled.latents[[not row.is_source for row in sampled.rows]] for sampled in groups])[order]
        inverted = [] if kept else {id(start): start.cost for start in starts if start is not None}.values()
        cost = sum((*inverted, *(sampled.cost for sampled in groups)), Cost())
        names = [name_of("method", method) for method in job.methods]
        diagnostics = merge_diagnostics([list(zip(names, sampled.diagnostics, strict=True)) for sampled in groups])
        return Result(
            source=job.picture,
            images=self._pictures(latents, job),
            prompts=tuple(prompt for prompt in job.targets for _ in runs),
            seeds=asked.seed * count,
            source_prompt=job.source,
            cost=cost,
            record=record,
            diagnostics=[(name, {key: value[order] for key, value in values.items()}) for name, values in diagnostics],
            _reconstruct=Later(lambda: self._reconstruct(*runs[0]).image),
        )

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
        asked = request_of(
            source_prompt=source_prompt,
            negative_prompt=negative_prompt,
            preset=preset,
            keep=keep,
            steps=steps,
            seed=seed,
            size=size,
        )
        job = prepare(image, asked, self.backbone, self.inversion, self.methods, samples=False)
        start = self._start(job, self.backbone.fingerprint(), None)
        if start is None:
            raise IncompatibleError(f"`inversion` {name_of('inversion', job.inversion)!r} has no inversion to keep.")
        return start

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
        asked = request_of(
            source_prompt=source_prompt,
            negative_prompt=negative_prompt,
            preset=preset,
            keep=keep,
            steps=steps,
            guidance=guidance,
            seed=seed,
            size=size,
        )
        job = prepare(image, asked, self.backbone, self.inversion, self.methods)
        start = self._start(job, "", None)
        found = self._reconstruct(job, _from(job.inputs, start))
        return found if start is None else replace(found, cost=start.cost + found.cost)

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
            negative_prompt: What guidance steers away from.
            steps, guidance, seed: As in :meth:`edit`.
            size: Width and height, or ``auto``: a square of the model's training area.
            method: What steers, as in :class:`Editor`; methods that compare with a source cannot.
        """
        asked = request_of(
            prompt=prompts, negative_prompt=negative_prompt, steps=steps, guidance=guidance, seed=seed, size=size
        )
        methods = methods_of(method)
        refuse_misfits(self.backbone.provides, self.backbone.name, methods)
        size = checked_size(own_size((1, 1), self.backbone) if asked.size == "auto" else asked.size, self.backbone)
        steps = asked.steps or self.backbone.defaults.steps
        guidance = self.backbone.defaults.guidance if asked.guidance is None else asked.guidance
        refuse_idle_prompts(self.backbone, guidance, negative_prompt)
        *targets, negative = self.backbone.encode_prompts([*asked.prompt, negative_prompt])
        rows = [Row(prompt, negative, guidance, edit=number) for number, prompt in enumerate(targets)]
        drawn = []
        for each in asked.seed:
            noise = Noise([each], self.backbone.latent_shape(*size), self.backbone.device)
            inputs = RunInputs(grid(self.backbone, steps, size), noise("start", 0), noise)
            sampled = self._engine("generate").sample(inversion_of("euler"), methods, rows, inputs, phase="generate")
            drawn.append([to_picture(picture) for picture in self.backbone.decode(sampled.latents)])
        return [picture for of_a_prompt in zip(*drawn, strict=True) for picture in of_a_prompt]

    def _start(self, job: Job, weights: str, given: InvertedLatents | None) -> InvertedLatents | None:
        """Return the inverted latents of a job: computed, or the kept ones if they belong to it; None without inversion."""
        inversion = job.inversion
        if not inversion.inverts:
            if given is not None:
                raise IncompatibleError(
                    f"`start` would have no effect: `inversion` {name_of('inversion', inversion)!r} starts from no inversion. "
                    "Leave it out."
                )
            return None
        identity = Record.of_inversion(job, self.backbone, self._backbone_record, weights)
        if given is not None:
            given.refuse_unless(identity, tuple(job.inputs.source.shape))
            return given
        latents, cost = self._engine("invert").invert(inversion, job.inversion_rows(), job.inputs)
        return InvertedLatents(latents, identity, cost)

    def _starts(self, jobs: Sequence[Job], weights: str, given: InvertedLatents | None) -> list[InvertedLatents | None]:
        """Return the inverted latents of each seed: the same for all where the inversion draws no noise."""
        if "invert" in jobs[0].inversion.seeded:
            return [self._start(job, weights, given) for job in jobs]
        return [self._start(jobs[0], weights, given)] * len(jobs)

    def _sample(self, job: Job, inputs: RunInputs, targets: Sequence[Prompt], label: str = "edit") -> Sampled:
        return self._engine(label).sample(job.inversion, job.methods, job.rows(targets), inputs)

    def _reconstruct(self, job: Job, inputs: RunInputs) -> Reconstruction:
        sampled = self._sample(replace(job, methods=()), inputs, [job.source], "reconstruct")
        (picture,) = self._pictures(sampled.latents[[not row.is_source for row in sampled.rows]], job)
        return Reconstruction.compare(picture, job.picture, sampled.cost)

    def _groups(self, targets: tuple[Prompt, ...]) -> list[tuple[Prompt, ...]]:
        most = len(targets) if self.max_rows is None else self.max_rows - 1
        return [targets[first : first + most] for first in range(0, len(targets), most)]

    def _pictures(self, latents: Tensor, job: Job) -> list[Image.Image]:
        pictures = [to_picture(self.backbone.decode(row[None])[0]) for row in latents]
        size = job.picture.size
        return [one if one.size == size else one.resize(size, Image.Resampling.LANCZOS) for one in pictures]

    def _engine(self, label: str) -> Engine:
        return Engine(self.backbone, _bar(label) if self.progress else None)


def _from(inputs: RunInputs, start: InvertedLatents | None) -> RunInputs:
    """Return a run's inputs with the latents that sampling starts from."""
    return replace(inputs, inverted=None if start is None else start.latents.to(inputs.source))


def _bar(label: str) -> Progress:
    """Return a progress bar that appears with the first step and ends with the last."""
    bars: list[tqdm[Any]] = []

    def progress(phase: Phase, done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(total=total, desc=label, unit="step", leave=False, disable=None))
        bars[0].update()
        if done == total:
            bars[0].close()

    return progress
