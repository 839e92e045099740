"""Make edits with a loaded model, and keep what several need of a picture: texts, latents, inversions."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeAlias, final

import torch
from PIL import Image
from torch import Tensor

from headrouter.editing.assembly import Steering, backbone_of, names_of, refuse_misfits
from headrouter.editing.batch import Batch, Edited, Task
from headrouter.editing.record import Record, masks_of
from headrouter.editing.request import Request, Settled, working_size_of
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import AnyConfiguration, Configuration, OtherConfiguration
from headrouter.experiments.dataset import Item
from headrouter.experiments.other_editor import EditRequest
from headrouter.experiments.run_folder.cell import Spent
from headrouter.experiments.running.inversions import KeptInversions
from headrouter.experiments.running.models import KeptModels
from headrouter.experiments.running.small_maps import small_maps
from headrouter.experiments.running.unit import Job, Unit
from headrouter.imaging.pasting import pasted
from headrouter.imaging.picture import to_picture, to_tensor
from headrouter.masks.segmentation import RegionMask
from headrouter.methods.word_maps import WordMaps
from headrouter.models.backbone import Backbone
from headrouter.models.surroundings import undisturbed
from headrouter.sampling.cost import Cost

_SMALL: Final = 64
"""Numbers of a diagnostic tensor that is kept in a record."""
_DECODED: Final = 1 << 20
"""Pixels that are decoded together."""
_loading = threading.Lock()
"""Of models: libraries that load them change the state of the whole process meanwhile."""

Pictures: TypeAlias = Mapping[str, Image.Image]
"""Pictures of a unit by their keys."""


@final
@dataclass(frozen=True, eq=False)
class Made:
    """Holds an edited picture, of the size of the source, its cost, small diagnostics by method and name, and maps."""

    image: Image.Image
    cost: Spent = field(default_factory=Spent)
    diagnostics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    maps: Mapping[str, Any] = field(default_factory=dict)


class Hand(Protocol):
    """Makes the edits of a unit."""

    def edit(self, unit: Unit, job: Job, items: Sequence[Item], pictures: Pictures) -> Sequence[Made]:
        """Return the edits of some of the unit's items by one of its jobs."""
        ...


def attempted(make: Callable[[Sequence[Item]], Sequence[Made]], items: Sequence[Item]) -> list[Made | Exception]:
    """Return each edit, or its error: where several fail together, each is tried alone."""
    try:
        return list(make(items))
    except Exception as error:
        return [error] if len(items) == 1 else [one for item in items for one in attempted(make, [item])]


def load(
    configuration: AnyConfiguration,
    jobs: Sequence[Job],
    device: str,
    kept: KeptInversions,
    models: KeptModels,
) -> Hand:
    """Load the model of a configuration, to be used by all these jobs, unless it is among those that are kept.

    Raises:
        HeadRouterError: it cannot be loaded.
    """
    with _loading:
        if isinstance(configuration, OtherConfiguration):
            return OtherHand(configuration, device)
        parts: list[Steering] = []
        for job in jobs:
            if isinstance(one := job.configuration, Configuration):
                parts += [one.inversion, *one.operators, *one.methods]
        if found := models.take(configuration.loading, device):
            refuse_misfits(found[0].provides, configuration.backbone_name, parts)
        else:
            values = {"device": device}
            found = backbone_of(configuration.backbone, parts, model=configuration.model, pipeline=None, values=values)
        return ModelHand(*found, kept)


@final
class PictureHand:
    """Gives pictures as they are."""

    def edit(self, unit: Unit, job: Job, items: Sequence[Item], pictures: Pictures) -> Sequence[Made]:
        """Return the source of each item."""
        return [Made(pictures[item.picture_key]) for item in items]


@final
class OtherHand:
    """Edits with an editor that is no composition of parts."""

    def __init__(self, configuration: OtherConfiguration, device: str):
        """Load it."""
        place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self._edit = configuration.editor.load(torch.device(place))

    def edit(self, unit: Unit, job: Job, items: Sequence[Item], pictures: Pictures) -> Sequence[Made]:
        """Edit one picture after the other."""
        return [self._one(job, item, pictures[item.picture_key]) for item in items]

    def _one(self, job: Job, item: Item, picture: Image.Image) -> Made:
        request = EditRequest(picture, item.source_prompt, item.prompt, item.instruction, job.cell(item).noise_seed)
        seconds, processor = time.perf_counter(), time.thread_time()
        image = self._edit(request).convert("RGB")
        cost = Spent(seconds=time.perf_counter() - seconds, processor=time.thread_time() - processor)
        if image.size != picture.size:
            raise InvalidInputError(
                f"the editor {job.configuration.name!r} must return pictures of the size of the source, {picture.size}; got "
                f"{image.size}."
            )
        return Made(image, cost)


@final
class ModelHand:
    """Edits with a backbone, as :class:`~headrouter.editing.editor.Editor` does, many pictures in a batch."""

    def __init__(self, backbone: Backbone, loaded: Mapping[str, Any], kept: KeptInversions):
        """Begin with no pictures at hand."""
        self._backbone, self._loaded, self._kept = backbone, loaded, kept
        self.model = backbone, loaded
        self._pictures: tuple[str, ...] = ()
        self._forget(())

    def _forget(self, pictures: tuple[str, ...]) -> None:
        """Take other pictures at hand."""
        if pictures != self._pictures:
            self._pictures = pictures
            self._texts: Mapping[str, Any] = {}
            self._latents: dict[str, Tensor] = {}
            self._starts: dict[tuple[str, str], tuple[Tensor, Spent]] = {}

    @undisturbed()
    def edit(self, unit: Unit, job: Job, items: Sequence[Item], pictures: Pictures) -> Sequence[Made]:
        """Edit pictures together, those of one size; items of one picture share its row and its inversion."""
        self._forget(tuple(dict.fromkeys(item.picture_key for item in unit.items)))
        configuration = job.configuration
        assert isinstance(configuration, Configuration)
        if configuration.still:
            return self._truths(items)
        groups: dict[Any, list[int]] = {}
        for place, item in enumerate(items):
            picture = pictures[item.picture_key]
            size = working_size_of(configuration.size or "auto", picture.size, self._backbone)
            groups.setdefault((size, picture.size), []).append(place)
        made: dict[int, Made] = {}
        for (size, _), places in groups.items():
            some = _Some(unit, job, configuration, [items[place] for place in places], pictures, size)
            made |= zip(places, self._edit(some), strict=True)
        return [made[place] for place in range(len(items))]

    def _edit(self, some: "_Some") -> list[Made]:
        batch = self._batch(some, list(some.by_picture))
        starts, costs = self._started(some) if some.configuration.inversion.inverts else ([], {})
        seconds = time.thread_time()
        edited = batch.edit(starts)
        cost = _spent(edited.cost, time.thread_time() - seconds).share(len(some.items))
        order = torch.tensor([place for places in some.by_picture.values() for place in places]).argsort()
        pictures = self._decoded(batch, edited.latents[order])
        if batch.plan.paste:
            areas = edited.masks["areas"][order].numpy()
            originals = [some.pictures[item.picture_key] for item in some.items]
            together = zip(pictures, originals, areas, strict=True)
            pictures = [pasted(one, original, area, batch.plan.feather) for one, original, area in together]
        diagnostics = _small(some.configuration, edited, order)
        maps = self._maps(some, batch, edited, order)
        return [
            Made(picture, costs.get(item.picture_key, Spent()) + cost, found, own)
            for item, picture, found, own in zip(some.items, pictures, diagnostics, maps, strict=True)
        ]

    def _maps(self, some: "_Some", batch: Batch, edited: Edited, order: Tensor) -> list[dict[str, Any]]:
        """Return the maps of each edit that the experiment asks for."""
        if not some.unit.diagnostics:
            return [{} for _ in some.items]
        prompts = [
            (batch.prompt(place, text), batch.prompt(place, task.source or ""))
            for place, task in enumerate(batch.tasks)
            for text in task.prompts
        ]
        every = (*edited.diagnostics, edited.masks)
        return [small_maps(some.unit.diagnostics, every, place, *prompts[place]) for place in order.tolist()]

    def _batch(self, some: "_Some", keys: Sequence[str]) -> Batch:
        """Return the batch of some of the pictures, with what is known of them already."""
        tasks = tuple(some.task(key) for key in keys)
        known = [self._latents[f"{some.size} {key}"] for key in keys if f"{some.size} {key}" in self._latents]
        one, plan = some.configuration, some.configuration.plan
        if "words" in some.unit.diagnostics and "prompt-words" in self._backbone.provides:
            plan = replace(plan, methods=(*plan.methods, WordMaps()))  # which changes nothing
        batch = Batch(
            self._backbone,
            plan,
            tasks,
            some.size,
            one.negative_prompt,
            some.pictures[keys[0]].size,
            max_rows=some.unit.batch + len(keys),
            encoded=self._texts,
            latents=torch.cat(known) if len(known) == len(keys) else None,
        )
        self._texts = batch.encoded
        assert batch.latents is not None
        self._latents |= {f"{some.size} {key}": batch.latents[place : place + 1] for place, key in enumerate(keys)}
        return batch

    def _started(self, some: "_Some") -> tuple[list[Tensor], dict[str, Spent]]:
        """Return the inverted latents of the pictures, and the share of their cost that an edit of each has."""
        keys = list(some.by_picture)
        place = {key: (some.unit.sharing, key) for key in keys}
        lacking = {
            key: some.identity(key, self._backbone, self._loaded) for key in keys if place[key] not in self._starts
        }
        for key, identity in list(lacking.items()):
            if found := self._kept.get(identity):
                self._starts[place[key]] = found[0].to(self._backbone.device), found[1]
                del lacking[key]
        if lacking:
            seconds = time.thread_time()
            (latents,), cost = self._batch(some, list(lacking)).invert()
            spent = _spent(cost, time.thread_time() - seconds).share(len(lacking))
            for number, (key, identity) in enumerate(lacking.items()):
                self._starts[place[key]] = latents[number : number + 1], spent
                self._kept.put(identity, latents[number : number + 1], spent)
        starts = torch.cat([self._starts[place[key]][0] for key in keys])
        edits = {key: sum(item.picture_key == key for item in some.unit.items) for key in keys}
        return [starts], {key: self._starts[place[key]][1].share(edits[key]) for key in keys}

    def _decoded(self, batch: Batch, latents: Tensor) -> list[Image.Image]:
        """Decode as many at once as memory is good for."""
        together = max(1, _DECODED // (batch.size[0] * batch.size[1]))
        return [one for some in torch.split(latents, together) for one in batch.pictures(some, together=True)]

    def _truths(self, items: Sequence[Item]) -> list[Made]:
        """Return true results through the autoencoder, which no edit can surpass by much."""
        made = []
        for item in items:
            truth = item.truth()
            if truth is None:
                raise InvalidInputError(
                    f"the edit {item.key!r} has no true result to compare with; leave this reference out."
                )
            size = working_size_of("auto", truth.size, self._backbone)
            pixels = to_tensor(truth, size).to(self._backbone.device)
            picture = to_picture(self._backbone.decode(self._backbone.encode_image(pixels))[0])
            made.append(
                Made(picture if picture.size == truth.size else picture.resize(truth.size, Image.Resampling.LANCZOS))
            )
        return made


@dataclass(frozen=True, eq=False)
class _Some:
    """Holds items that are edited together: of one size, by one job."""

    unit: Unit
    job: Job
    configuration: Configuration
    items: Sequence[Item]
    pictures: Pictures
    size: tuple[int, int]

    @property
    def by_picture(self) -> dict[str, list[int]]:
        """Return the places of the items of each picture."""
        found: dict[str, list[int]] = {}
        for place, item in enumerate(self.items):
            found.setdefault(item.picture_key, []).append(place)
        return found

    def task(self, key: str) -> Task:
        """Return a picture's task."""
        own, inversion = [item for item in self.items if item.picture_key == key], self.configuration.inversion
        prompts = tuple(item.instruction if inversion.takes_references else item.prompt for item in own)
        seeds, source = (self.job.cell(own[0]).noise_seed,), inversion.source_row_prompt(own[0].source_prompt)
        picture = self.pictures[key]
        masks = [leaf for mask in masks_of(self.configuration.plan) for leaf in mask.leaves()]
        asked = any(isinstance(mask, RegionMask) for mask in masks)
        found = {prompt: item.mask() for prompt, item in zip(prompts, own, strict=True)} if asked else {}
        regions = {prompt: mask for prompt, mask in found.items() if mask is not None}
        return Task(prompts, seeds, source, to_tensor(picture, self.size), picture=picture, regions=regions)

    def identity(self, key: str, backbone: Backbone, loaded: Mapping[str, Any]) -> Record:
        """Return all that the inversion of a picture depends on."""
        item = next(item for item in self.items if item.picture_key == key)
        seed, one = self.job.cell(item).noise_seed, self.configuration
        asked = Request(source_prompt=item.source_prompt, negative_prompt=one.negative_prompt, seed=(seed,))
        given = Settled(self.pictures[key], asked, one.plan, self.size)
        return Record.of_inversion(given, seed, backbone, loaded, one.record.weights)


def _spent(cost: Cost, processor: float) -> Spent:
    return Spent(cost.calls, cost.rows, cost.seconds, processor, cost.peak_memory)


def _small(configuration: Configuration, edited: Edited, order: Tensor) -> list[dict[str, dict[str, Any]]]:
    """Return for each edit those tensors of each method that are small, as lists; what is not finite is None."""
    names = names_of("method", configuration.methods)
    rows: list[dict[str, dict[str, Any]]] = [{} for _ in order]
    for method, tensors in zip(names, edited.diagnostics, strict=False):  # word maps may come behind
        for name, tensor in tensors.items():
            if tensor.ndim and tensor[0].numel() <= _SMALL:
                for row, values in zip(rows, tensor[order].tolist(), strict=True):
                    row.setdefault(method, {})[name] = _finite(values)
    if edited.strengths:
        for row, place in zip(rows, order.tolist(), strict=True):
            row["strength"] = {"chosen": edited.strengths[place]}
    return rows


def _finite(values: Any) -> Any:
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return values if not isinstance(values, float) else round(values, 6) if math.isfinite(values) else None
