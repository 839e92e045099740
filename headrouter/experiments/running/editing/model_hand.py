"""Edit with a backbone, and keep what several edits need of a picture: texts, latents, inversions."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, final

import torch
from PIL import Image
from torch import Tensor

from headrouter.editing.batch import Batch, Edited
from headrouter.editing.request import working_size_of
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.dataset import Item
from headrouter.experiments.run_folder.cell import Spent
from headrouter.experiments.running.editing.diagnostics import small_diagnostics
from headrouter.experiments.running.editing.hand import Made, Pictures
from headrouter.experiments.running.editing.item_group import ItemGroup
from headrouter.experiments.running.inversions import KeptInversions
from headrouter.experiments.running.small_maps import small_maps
from headrouter.experiments.running.unit import Job, Unit
from headrouter.imaging.pasting import pasted
from headrouter.imaging.picture import to_picture, to_tensor
from headrouter.methods.word_maps import WordMaps
from headrouter.models.backbone import Backbone
from headrouter.models.surroundings import undisturbed
from headrouter.sampling.cost import Cost

_DECODED: Final = 1 << 20
"""Pixels that are decoded together."""


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
            some = ItemGroup(unit, job, configuration, [items[place] for place in places], pictures, size)
            made |= zip(places, self._edit(some), strict=True)
        return [made[place] for place in range(len(items))]

    def _edit(self, some: ItemGroup) -> list[Made]:
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
        diagnostics = small_diagnostics(some.configuration, edited, order)
        maps = self._maps(some, batch, edited, order)
        return [
            Made(picture, costs.get(item.picture_key, Spent()) + cost, found, own)
            for item, picture, found, own in zip(some.items, pictures, diagnostics, maps, strict=True)
        ]

    def _maps(self, some: ItemGroup, batch: Batch, edited: Edited, order: Tensor) -> list[dict[str, Any]]:
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

    def _batch(self, some: ItemGroup, keys: Sequence[str]) -> Batch:
        """Return the batch of some of the pictures, with what is known of them already."""
        tasks = tuple(some.task(key) for key in keys)
        known = [self._latents[f"{some.size} {key}"] for key in keys if f"{some.size} {key}" in self._latents]
        one, plan = some.configuration, some.configuration.plan
        if "words" in some.unit.diagnostics and "prompt-words" in self._backbone.provides:
            plan = replace(plan, methods=(*plan.methods, WordMaps()))  # which steers nothing
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

    def _started(self, some: ItemGroup) -> tuple[list[Tensor], dict[str, Spent]]:
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


def _spent(cost: Cost, processor: float) -> Spent:
    return Spent(cost.calls, cost.rows, cost.seconds, processor, cost.peak_memory)
