"""Run edits in batches: many pictures, each with its source's row and any number of edits, prompts and seeds.

This is the one place that builds rows, noise and inversions. :class:`~headrouter.editing.editor.Editor` runs it with one picture,
benchmarks and analyses with many.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, final

import torch
from PIL import Image
from torch import Tensor
from typing_extensions import Self

from headrouter.attention.rows import Row, rows_at
from headrouter.attention.step_info import Phase
from headrouter.editing.assembly import name_of
from headrouter.editing.batch.edited import Edited, Latents, StartLatents
from headrouter.editing.batch.groups import Group, groups_of
from headrouter.editing.batch.prompts import BatchPrompts
from headrouter.editing.batch.strengths import edit_at_chosen_strengths
from headrouter.editing.batch.task import Task
from headrouter.editing.request import Settled, reference_size
from headrouter.editing.tuning import Plan
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.imaging.picture import to_picture, to_tensor
from headrouter.methods.word_maps import WordMaps
from headrouter.models.backbone import Backbone
from headrouter.models.surroundings import undisturbed
from headrouter.models.threads import on_fitting_threads
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.cost import Cost
from headrouter.sampling.engine import Engine, Progress, Sampled, may_need_sources
from headrouter.sampling.guidance import refuse_idle_prompts
from headrouter.sampling.inversion import RunInputs
from headrouter.sampling.noise import Noise
from headrouter.sampling.progress import progress_bar


@final
@dataclass(frozen=True, eq=False)
class Batch:
    """Runs pictures of one size together.

    Making one encodes prompts and pictures; the transformer does not run yet.

    Attributes:
        backbone: The model.
        plan: Plan of their run.
        tasks: The pictures, all new or none, with equally many seeds each. The seeds run one after the other.
        size: Width and height to work at.
        negative: Negative prompt, from which guidance steers away.
        picture_size: Width and height of the user's pictures, if there are any.
        phase: ``sample`` for edits, ``generate`` for new pictures, ``invert`` if there is no sampling.
        max_rows: Most rows in one model call: pictures, and edits of one picture, beyond them run one group after the other.
        label: Of the progress bar while sampling; None shows none.
        progress: Function that is called after each step, in place of a bar.
        encoded: Prompts by :meth:`~headrouter.editing.batch.prompts.BatchPrompts.key`; made where they are missing and used.
        latents: Of the pictures; made where they are missing.
        inverted: Whether :meth:`edit` will be given inverted latents, so that no prompt is encoded for an inversion.
        kept: What masks keep over the runs.

    Raises:
        IncompatibleError, InvalidInputError: a prompt or several seeds that would have no effect, before anything is encoded.
    """

    backbone: Backbone
    plan: Plan
    tasks: tuple[Task, ...]
    size: tuple[int, int]
    negative: str = ""
    picture_size: tuple[int, int] | None = None
    phase: Phase = "sample"
    max_rows: int | None = None
    label: str | None = None
    encoded: Mapping[Any, Prompt] = field(default_factory=dict, repr=False)
    latents: Latents | None = field(default=None, repr=False)
    inverted: bool = False
    kept: dict[Hashable, Tensor] = field(default_factory=dict, repr=False)
    progress: Progress | None = field(default=None, repr=False)

    @on_fitting_threads
    def __post_init__(self) -> None:
        """Refuse what would have no effect, and encode."""
        if self.phase != "invert":
            self._refuse_idle()
        plan = self.plan
        parts = plan.inversion, plan.methods, plan.operators, plan.mask
        self.encode(sources=self.phase == "invert" or may_need_sources(*parts, steps=plan.steps))
        pixels = [task.pixels for task in self.tasks if task.pixels is not None]
        if pixels and self.latents is None:
            object.__setattr__(self, "latents", self.backbone.encode_image(torch.cat(pixels).to(self.backbone.device)))

    @classmethod
    def of(
        cls,
        backbone: Backbone,
        every: Sequence[Settled],
        label: str | None = None,
        *,
        phase: Phase = "sample",
        max_rows: int | None = None,
        inverted: bool = False,
        progress: Progress | None = None,
    ) -> Self:
        """Return the batch of pictures of which the same is asked.

        Raises:
            InvalidInputError: pictures of different sizes.
        """
        first, sizes = every[0], {given.picture.size for given in every}
        if len(sizes) > 1:
            raise InvalidInputError(f"`images` must be of one size to be edited together, got {sorted(sizes)}.")
        asked, plan = first.request, first.plan
        maps = asked.prompt and asked.maps and "prompt-words" in backbone.provides
        if maps and not any(isinstance(method, WordMaps) for method in plan.methods):
            plan = replace(plan, methods=(*plan.methods, WordMaps()))
        pixels = [to_tensor(given.picture, given.size) for given in every]
        source = plan.inversion.source_row_prompt(asked.source_prompt)
        references = tuple(to_tensor(one, reference_size(one, backbone)) for one in first.references)
        tasks = tuple(
            Task(asked.prompt, asked.seed, source, one, references, given.picture)
            for one, given in zip(pixels, every, strict=True)
        )
        size, negative = first.picture.size, asked.negative_prompt
        shown: dict[str, Any] = {"label": label, "progress": progress}
        return cls(backbone, plan, tasks, first.size, negative, size, phase, max_rows, inverted=inverted, **shown)

    @on_fitting_threads
    @undisturbed()
    def invert(self) -> tuple[list[StartLatents], Cost]:
        """Take the pictures to noise: for each seed, one and the same where the inversion draws no noise.

        Returns:
            Latents by seed, none if there is no picture or no inversion, and the cost.
        """
        if self.latents is None or not self.plan.inversion.inverts:
            return [], Cost()
        if self.inverted:
            return replace(self, inverted=False).invert()
        seeds = range(len(self.tasks[0].seeds))
        drawn = seeds if "invert" in self.plan.inversion.seeded else seeds[:1]
        most = self.max_rows or len(self.tasks)
        groups = [range(len(self.tasks))[first : first + most] for first in range(0, len(self.tasks), most)]
        runs = [[self._invert(group, seed) for group in groups] for seed in drawn]
        latents = [torch.cat([latents for latents, _ in run]) for run in runs]
        cost = sum((cost for run in runs for _, cost in run), Cost())
        return [latents[seed if len(drawn) > 1 else 0] for seed in seeds], cost

    @on_fitting_threads
    @undisturbed()
    def edit(self, inverted: Sequence[StartLatents] | None = None, *, keep_sources: bool = False) -> Edited:
        """Run all edits; methods refuse what cannot work before the transformer runs.

        Args:
            inverted: Inverted latents of :meth:`invert`, or kept ones for each seed; made here if None.
            keep_sources: Run the sources' rows to the end, whether anything needs them or not.
        """
        if self.plan.strength:
            return edit_at_chosen_strengths(self, inverted, keep_sources=keep_sources)
        if keep_sources:
            self.encode(sources=True)
        groups = groups_of(self.tasks, self.max_rows)
        engine = Engine(self.backbone)
        for group in groups:
            inputs = self.inputs([place for place, _ in group], 0)
            plan = self.plan
            parts: dict[str, Any] = {"phase": self.phase, "operators": plan.operators, "mask": plan.mask}
            engine.begin(plan.inversion, plan.methods, self._rows(group), inputs, **parts)
        starts, cost = self.invert() if inverted is None else (inverted, Cost())
        seeds = range(len(self.tasks[0].seeds))
        runs = [
            self._sample(group, seed, starts[seed] if starts else None, keep_sources)
            for seed in seeds
            for group in groups
        ]
        return Edited.of_runs(runs, len(seeds), starts, cost)

    @on_fitting_threads
    @undisturbed()
    def pictures(self, latents: Latents, *, together: bool = False) -> list[Image.Image]:
        """Decode each of some latents, alone or ``together``, in the size of the user's pictures."""
        parts = [latents] if together else torch.split(latents, 1)
        pictures = [to_picture(pixels) for part in parts for pixels in self.backbone.decode(part)]
        size = self.picture_size
        return [one if size in (None, one.size) else one.resize(size, Image.Resampling.LANCZOS) for one in pictures]

    def reconstruction(self, place: int = 0) -> "Batch":
        """Return the batch that edits one of the pictures with its own prompt, unsteered, with its first seed.

        Velocity operators that compare with the source are left out too: a picture that is edited into itself is its own source.
        """
        task, latents = self.tasks[place], None if self.latents is None else self.latents[place : place + 1]
        alone = replace(task, prompts=(task.source or "",), seeds=task.seeds[:1])
        operators = tuple(one for one in self.plan.operators if not one.needs_source)
        plan = replace(self.plan, methods=(), operators=operators, mask=None, strength=None)
        return replace(self, plan=plan, tasks=(alone,), latents=latents, label=self.label and "reconstruct")

    def prompt(self, place: int, text: str) -> Prompt:
        """Return a prompt of one of the pictures; without tensors where the model is not asked with it."""
        return self.encoded.get(self._prompts.key(place, text)) or Prompt(text, {})

    def _invert(self, group: Sequence[int], seed: int) -> tuple[StartLatents, Cost]:
        inversion, rows = self.plan.inversion, []
        for image, place in enumerate(group):
            own = self.tasks[place].source or "", self.negative
            prompt, negative = own if inversion.inversion_prompt == "source" else ("", "")
            prompts = self.prompt(place, prompt), self.prompt(place, negative)
            rows.append(Row(*prompts, inversion.inversion_guidance, image=image))
        return self._engine("invert").invert(inversion, rows, self.inputs(group, seed), self.plan.operators)

    def _sample(self, group: Group, seed: int, start: StartLatents | None, keep_sources: bool) -> Sampled:
        places = [place for place, _ in group]
        inputs = self.inputs(places, seed)
        if start is not None:
            inputs = replace(inputs, inverted=rows_at(start.to(inputs.source), places))
        plan, rows = self.plan, self._rows(group)
        return self._engine(self.label or "").sample(
            plan.inversion,
            plan.methods,
            rows,
            inputs,
            phase=self.phase,
            keep_source=keep_sources,
            operators=plan.operators,
            mask=plan.mask,
        )

    def _rows(self, group: Group) -> list[Row]:
        """Return each picture's rows: the source's, and one for each edit."""
        guide, rows = self.plan.inversion.sampling_guidance, list[Row]()
        for image, (place, prompts) in enumerate(group):
            negative, references = self.prompt(place, self.negative), self._references(place)
            own = self.tasks[place].source
            sources = [] if own is None else [(own, None)]
            for text, edit in (*sources, *((text, edit) for edit, text in enumerate(prompts))):
                guidance = guide(edit is None, self.plan.guidance)
                rows.append(Row(self.prompt(place, text), negative, guidance, edit, image, references))
        return rows

    def _references(self, place: int) -> tuple[Latents, ...]:
        """Return the latents of a picture's references, itself first, where the inversion takes references."""
        if not self.plan.inversion.takes_references or self.latents is None:
            return ()
        return self.latents[place : place + 1], *self._further_references[place]

    @cached_property
    def _further_references(self) -> list[tuple[Latents, ...]]:
        """Encode the reference pictures beside each picture."""
        encode, device = self.backbone.encode_image, self.backbone.device
        return [tuple(encode(one.to(device)) for one in task.references) for task in self.tasks]

    def inputs(self, places: Sequence[int], seed: int) -> RunInputs:
        """Return what is fixed for a run of some of the pictures, each with the noise of its ``seed``-th seed."""
        shape = self.backbone.latent_shape(*self.size)
        device = self.backbone.device if self.latents is None else self.latents.device
        noise = Noise([self.tasks[place].seeds[seed] for place in places], shape, device)
        sigmas = tuple(self.backbone.sigmas(self.plan.steps, *self.size).tolist())
        source = noise("start", 0) if self.latents is None else rows_at(self.latents, places)
        tasks = [self.tasks[place] for place in places]
        pictures = [task.picture for task in tasks if task.picture is not None]
        regions = [task.regions for task in tasks]
        return RunInputs(
            sigmas, source, noise, size=self.picture_size, pictures=pictures, regions=regions, kept=self.kept
        )

    def encode(self, *, sources: bool) -> None:
        """Encode the prompts that are not there yet, those of the sources' rows if the rows run."""
        object.__setattr__(self, "encoded", {**self.encoded, **self._prompts.encoded(self.encoded, sources=sources)})

    @cached_property
    def _prompts(self) -> BatchPrompts:
        return BatchPrompts(self.backbone, self.plan, self.tasks, self.negative, self.phase, self.inverted)

    def _engine(self, label: str) -> Engine:
        return Engine(self.backbone, self.progress or (None if self.label is None else progress_bar(label)))

    def _refuse_idle(self) -> None:
        inversion = self.plan.inversion
        seeds = max((task.seeds for task in self.tasks), key=len)
        if len(seeds) > 1 and not inversion.seeded and self.phase == "sample":
            raise IncompatibleError(
                f"`seed` {list(seeds)} would give one and the same picture: `inversion` {name_of('inversion', inversion)!r} "
                "with these parameters draws no noise. Give one seed, or choose an inversion that draws noise."
            )
        refuse_idle_prompts(self.backbone, inversion.sampling_guidance(False, self.plan.guidance), self.negative)
