"""Compose a backbone, an inversion and methods, by name or by object, in an editor.

>>> from headrouter.testing.toy import ToyMMDiT
>>> editor = Editor(ToyMMDiT(), "euler", "none", progress=False)
>>> picture = Image.new("RGB", (32, 32), "teal")
>>> editor.edit(picture, prompt="a red square", steps=2).image.size
(32, 32)
"""

import os
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, final

from PIL import Image

from headrouter import renamed
from headrouter.config.configuration import python_number
from headrouter.editing.assembly import (
    AUTO,
    Methods,
    Operators,
    Steering,
    backbone_of,
    default_inversion,
    inversion_of,
    methods_of,
    name_of,
    operators_of,
    refuse_misfits,
    steering_of,
)
from headrouter.editing.batch import Batch, Task
from headrouter.editing.inverted_latents import InvertedLatents, starts
from headrouter.editing.record import Record
from headrouter.editing.request import Size, request_of, settled, working_size_of
from headrouter.editing.result import Reconstruction, Result
from headrouter.editing.tuning import settle
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.imaging.picture import Source
from headrouter.methods.method import Method
from headrouter.models.backbone import Backbone, BackboneParameters
from headrouter.models.surroundings import undisturbed
from headrouter.models.threads import on_fitting_threads
from headrouter.sampling.engine import Progress
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import VelocityOperator, refuse_misfit_operators


@final
class Editor:
    """Edits pictures by text.

    Args:
        backbone: Name of a registered backbone (``"sd3.5"``, ``"flux"``, ``"sd3"``), its parameters, or a loaded backbone.
        inversion: Name or object of the inversion; if None, ``"rf"``, or ``"instruct"`` for a model that edits by instructions.
        method: Name or object of what steers the edit, or a list of them, applied in order; None or ``"none"``: nothing. ``"auto"``
            is what suits the inversion: ``"headrouter"``, or nothing with ``instruct``.
        operators: Name or object of what changes the velocity between model and inversion, or a list of them, applied in order.
        model: Short name, hub id, local folder or single file of the weights; the backbone's default if None.
        pipeline: An already loaded diffusers pipeline to use as it is.
        device, dtype, offload: See :class:`~headrouter.models.backbone.BackboneParameters`.
        max_sequence_length: Number of text tokens of a prompt, for backbones that have the parameter; at most what the model takes.
        variant, base, quantize: Variant of the weights, pipeline that completes a single file, and format, of backbones that have
            such parameters: ``variant="fp16"``, ``quantize="nf4"``; see docs/models.md.
        max_rows: Most rows of the picture (its source and edits) in one model call; more edits run one group after the other.
        progress: Show progress bars; or a function to call after each step with the phase (``"invert"``, ``"sample"``), the steps
            done and the steps in all. An error that it raises ends the run there.

    Raises:
        UnknownNameError, IncompatibleError, WeightsError, InvalidInputError: before any model is loaded, where possible.
    """

    def __init__(
        self,
        backbone: str | Backbone | BackboneParameters = "sd3.5",
        inversion: str | Inversion | None = None,
        method: Methods = AUTO,
        *,
        operators: Operators = None,
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
        progress: bool | Progress = True,
    ):
        """Compose the parts and load the model."""
        max_rows = python_number(max_rows)
        if max_rows is not None and (type(max_rows) is not int or max_rows < 2):
            raise InvalidInputError(f"`max_rows` must be at least 2, a source and an edit, got {max_rows!r}.")
        if model is not None and not isinstance(model, str):
            raise InvalidInputError(
                f"`model` must be a short name, a hub id or the path of a folder or file, got {model!r}."
            )
        if not isinstance(progress, bool) and not callable(progress):
            raise InvalidInputError(
                f"`progress` must be True, False, or a function of phase, steps done and steps in all, got {progress!r}."
            )
        self.inversion = inversion_of(default_inversion(backbone) if inversion is None else inversion)
        self.operators = operators_of(operators)
        self.methods = steering_of(method, self.inversion)
        refuse_misfit_operators(self.operators, self.inversion, name_of=name_of)
        given: dict[str, Any] = {"device": device, "dtype": dtype, "offload": offload}
        given |= {"variant": variant, "base": base, "quantize": quantize, "max_sequence_length": max_sequence_length}
        values = {name: value for name, value in given.items() if value is not None}
        self.backbone, self._backbone_record = backbone_of(
            backbone, (self.inversion, *self.operators, *self.methods), model=model, pipeline=pipeline, values=values
        )
        self.max_rows, self.progress = max_rows, progress

    def with_parts(
        self,
        inversion: str | Inversion | None = None,
        method: Methods = AUTO,
        *,
        operators: Operators = None,
        progress: bool | Progress | None = None,
    ) -> "Editor":
        """Return an editor of the same loaded model with other parts.

        Args:
            inversion, method, operators: As of the class.
            progress: As of the class; this editor's if None.

        Raises:
            UnknownNameError, IncompatibleError: a part that is not installed, or that does not fit the model.
        """
        other = copy(self)
        other.inversion = inversion_of(default_inversion(self.backbone) if inversion is None else inversion)
        other.operators, other.methods = operators_of(operators), steering_of(method, other.inversion)
        refuse_misfit_operators(other.operators, other.inversion, name_of=name_of)
        parts: tuple[Steering, ...] = (other.inversion, *other.operators, *other.methods)
        refuse_misfits(self.backbone.provides, self._backbone_record["name"] or self.backbone.name, parts)
        other.progress = self.progress if progress is None else progress
        return other

    def __repr__(self) -> str:
        """Return the parts as text.

        >>> from headrouter.testing.toy import ToyMMDiT
        >>> Editor(ToyMMDiT(), "euler", None)
        Editor(toy, Euler(steps=None, guidance=None, told='target', fixed_point=0))
        """
        parts = map(repr, (self.inversion, *self.operators, *self.methods))
        return f"Editor({', '.join([self.backbone.name, *parts])})"

    @renamed.keywords(inversion="start")
    @undisturbed()
    def edit(
        self,
        image: Source,
        prompt: str | Sequence[str],
        source_prompt: str = "",
        *,
        negative_prompt: str = "",
        preset: str | os.PathLike[str] | None = None,
        keep: float | None = None,
        push: float | None = None,
        strength: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int | Sequence[int] = 0,
        size: Size = "auto",
        start: InvertedLatents | str | os.PathLike[str] | None = None,
        references: Sequence[Source] = (),
        mask: Any = None,
        paste: bool = False,
        feather: float | None = None,
        maps: bool = True,
    ) -> Result:
        """Edit a picture.

        Args:
            image: Path, bytes, Pillow image or array.
            prompt: Prompt of the edit; a list gives one edit each, all from one inversion and one batch. It describes the edited
                picture, or says what to do with the picture, where the inversion is ``instruct``.
            source_prompt: Prompt that describes the picture; may be empty, and must be with ``instruct``.
            negative_prompt: Prompt to steer away from, where the model guides in two passes, at another guidance than 1.
            preset: Name of published or measured values, see ``headrouter presets``, or the file of a preset.
            keep: Share of the source to keep, 0 to 1 (η of ``rf``).
            push: Strength of the edit, from 0 (γ of ``headrouter``).
            strength: ``"auto"`` makes each edit at several strengths of the inversion (``last_steps`` of ``flowedit``, ``stop`` of
                ``rf``), and keeps the weakest that the model itself says took, which :attr:`Result.strengths` names.
            steps: Steps of the time grid.
            guidance: Guidance while sampling; 1 is none. In two passes 0, which would leave the prompt out, is refused.
            seed: Of all noise; a list gives one edit of each prompt for each seed, first those of the first prompt. Each is the
                edit of its seed alone; the inversion is shared where it draws no noise.
            size: Width and height to work at, or ``auto``: the model's training area at the picture's aspect.
            start: Inverted latents of the same picture, prompt and settings, from :meth:`invert`, or the file they were saved in.
            references: Further pictures for the model to look at, after the picture itself, where the inversion is ``instruct`` and
                the model takes several: "put the cat of picture 2 on the chair".
            mask: Where the edit may act, for the parts that take a mask: ``"words"``, ``"attention"``, ``"velocity"``, an
                expression of such, a picture or array of the picture's size, or whatever else
                :func:`~headrouter.masks.part.mask_of` reads.
            paste: Put the original pixels back outside the mask, in the size of the picture.
            feather: Width of the seam of ``paste`` beyond the mask, as a share of the picture's shorter side.
            maps: Record where each word acts, for :meth:`Result.text_map`.
        """
        values: dict[str, Any] = {"negative_prompt": negative_prompt, "preset": preset, "keep": keep, "push": push}
        values |= {"steps": steps, "guidance": guidance, "seed": seed, "size": size, "maps": maps}
        values |= {"mask": mask, "paste": paste, "feather": feather, "strength": strength}
        (result,) = self.edit_together([image], prompt, source_prompt, start=start, references=references, **values)
        return result

    @on_fitting_threads
    @undisturbed()
    def edit_together(
        self,
        images: Sequence[Source],
        prompt: str | Sequence[str],
        source_prompt: str = "",
        *,
        start: InvertedLatents | str | os.PathLike[str] | None = None,
        references: Sequence[Source] = (),
        **asked: Any,
    ) -> list[Result]:
        """Edit pictures of one size together, in the same model calls as far as ``max_rows`` allows.

        Args:
            images, prompt, source_prompt: As in :meth:`edit`; the prompts are those of every picture.
            start: As in :meth:`edit`, for a single picture.
            references: As in :meth:`edit`, the same for every picture.
            asked: Whatever else :meth:`edit` takes, for every picture.

        Raises:
            InvalidInputError: pictures of different sizes, or several and one ``start``.
        """
        values = {"prompt": prompt, "source_prompt": source_prompt, **asked}
        every, weights = settled(images, values, *self._parts, references=references), self.backbone.fingerprint()
        records = [Record.of(one, self.backbone, self._backbone_record, weights, self.max_rows) for one in every]
        kept = None if start is None else starts(start, every, self.backbone, self._backbone_record, weights)
        given: dict[str, Any] = {"max_rows": self.max_rows, "inverted": kept is not None}
        batch = Batch.of(self.backbone, every, **self._shown("edit"), **given)
        return Result.of(every, records, batch, batch.edit(kept))

    @on_fitting_threads
    @undisturbed()
    def invert(
        self,
        image: Source,
        source_prompt: str = "",
        *,
        negative_prompt: str = "",
        preset: str | os.PathLike[str] | None = None,
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
        values |= {"source_prompt": source_prompt, "seed": seed, "size": size}
        (given,) = settled([image], values, *self._parts, only="inversion")
        (latents,), cost = Batch.of(self.backbone, [given], **self._shown("invert"), phase="invert").invert()
        loaded, weights = self._backbone_record, self.backbone.fingerprint()
        identity = Record.of_inversion(given, given.request.seed[0], self.backbone, loaded, weights)
        return InvertedLatents(latents, identity, cost)

    @on_fitting_threads
    @undisturbed()
    def reconstruct(
        self,
        image: Source,
        source_prompt: str = "",
        *,
        negative_prompt: str = "",
        preset: str | os.PathLike[str] | None = None,
        keep: float | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        size: Size = "auto",
    ) -> Reconstruction:
        """Edit the picture with its own prompt, unsteered, and compare: how well the inversion holds it."""
        values: dict[str, Any] = {"negative_prompt": negative_prompt, "preset": preset, "keep": keep, "steps": steps}
        values |= {"source_prompt": source_prompt, "guidance": guidance, "seed": seed, "size": size}
        (given,) = settled([image], values, *self._parts, only="reconstruction")
        batch = Batch.of(self.backbone, [given], **self._shown("reconstruct")).reconstruction()
        edited = batch.edit()
        return Reconstruction.compare(batch.pictures(edited.latents)[0], given.picture, edited.cost)

    @on_fitting_threads
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
        values: dict[str, Any] = {"prompt": prompts, "steps": steps, "guidance": guidance, "seed": seed, "size": size}
        asked = request_of(negative_prompt=negative_prompt, **values)
        methods = methods_of(method)
        refuse_misfits(self.backbone.provides, self.backbone.name, methods)
        if self.backbone.reads_references:
            raise IncompatibleError(
                f"`backbone` {self.backbone.name!r} reads each prompt together with a picture, and draws none without. Edit a"
                " picture."
            )
        plan = settle(asked, inversion_of("euler"), methods, self.backbone.defaults)
        tasks = (Task(asked.prompt, asked.seed),)
        size = working_size_of(asked.size, (1, 1), self.backbone)
        limits: dict[str, Any] = {"max_rows": self.max_rows, **self._shown("generate")}
        batch = Batch(self.backbone, plan, tasks, size, asked.negative_prompt, phase="generate", **limits)
        return batch.pictures(batch.edit().latents)

    @property
    def _parts(self) -> tuple[Backbone, Inversion, tuple[VelocityOperator, ...], tuple[Method, ...]]:
        return self.backbone, self.inversion, self.operators, self.methods

    def _shown(self, label: str) -> dict[str, Any]:
        """Return how a batch shows its progress: a function to call, a bar of this label, or not at all."""
        if callable(self.progress):
            return {"progress": self.progress}
        return {"label": label if self.progress else None}
