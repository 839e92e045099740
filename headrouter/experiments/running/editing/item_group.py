"""Group items that are edited together, and say what the batch and its inversions need of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrouter.editing.batch import Task
from headrouter.editing.record import Record, masks_of
from headrouter.editing.request import Request, Settled
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.dataset import Item
from headrouter.experiments.running.editing.hand import Pictures
from headrouter.experiments.running.unit import Job, Unit
from headrouter.imaging.picture import to_tensor
from headrouter.masks.segmentation import RegionMask
from headrouter.models.backbone import Backbone


@dataclass(frozen=True, eq=False)
class ItemGroup:
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
