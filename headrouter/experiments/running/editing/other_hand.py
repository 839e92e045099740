"""Edit with an editor that is no composition of parts, one picture after the other."""

import time
from collections.abc import Sequence
from typing import final

import torch
from PIL import Image

from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import OtherConfiguration
from headrouter.experiments.dataset import Item
from headrouter.experiments.other_editor import EditRequest
from headrouter.experiments.run_folder.cell import Spent
from headrouter.experiments.running.editing.hand import Made, Pictures
from headrouter.experiments.running.unit import Job, Unit


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
