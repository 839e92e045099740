"""Encode the prompts that the model, a method or a mask will be asked with in a batch, each once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from headrouter.attention.step_info import Phase
from headrouter.editing.batch.task import Task
from headrouter.editing.tuning import Plan
from headrouter.models.backbone import Backbone
from headrouter.models.fingerprint import fingerprint
from headrouter.prompts.prompt import Prompt


@final
@dataclass(frozen=True, eq=False)
class BatchPrompts:
    """Finds and encodes the prompts of a batch.

    Attributes:
        backbone, plan, tasks, negative, phase, inverted: As of :class:`~headrouter.editing.batch.batch.Batch`.
    """

    backbone: Backbone
    plan: Plan
    tasks: tuple[Task, ...]
    negative: str
    phase: Phase
    inverted: bool

    def encoded(self, encoded: Mapping[Any, Prompt], *, sources: bool) -> dict[Any, Prompt]:
        """Encode the prompts that are not there yet: together, or with the pictures that the model reads beside them.

        Args:
            encoded: Prompts that are there, by :meth:`key`.
            sources: Encode those of the sources' rows, too.
        """
        wanted = {self.key(place, text): (place, text) for place, text in self._texts(sources)}
        missing = {key: own for key, own in wanted.items() if key not in encoded}
        pictures = self._read(0)
        if pictures is None:
            texts = [text for _, text in missing.values()]
            return dict(zip(missing, self.backbone.encode_prompts(texts) if texts else [], strict=True))
        found = {}
        for key, (place, text) in missing.items():
            [found[key]] = self.backbone.encode_instructions([text], self._read(place) or ())
        return found

    def _read(self, place: int) -> tuple[Tensor, ...] | None:
        """Return the pictures that a picture's prompts are encoded with; None where they depend on none."""
        task = self.tasks[place]
        if task.pixels is None or not (self.backbone.reads_references and self.plan.inversion.takes_references):
            return None
        device = self.backbone.device
        return tuple(one.to(device) for one in (task.pixels, *task.references))

    def key(self, place: int, text: str) -> Any:
        """Return a text, with the hash of the pictures that it is encoded with, if there are any."""
        pictures = self._read(place)
        return text if pictures is None else (text, fingerprint(("picture", each) for each in pictures))

    def _texts(self, sources: bool) -> Iterator[tuple[int, str]]:
        """Yield the prompts that the model, or a method, is asked with, some more than once, each with its picture's number."""
        inversion, guidances = self.plan.inversion, set[float]()
        for place, task in enumerate(self.tasks if self.phase != "invert" else ()):
            own = (task.source,) if sources and task.source is not None else ()
            yield from ((place, text) for text in (*own, *task.prompts))
            guidances |= {
                inversion.sampling_guidance(is_source, self.plan.guidance) for is_source in {bool(own), False}
            }
        if inversion.inverts and not self.inverted and any(task.pixels is not None for task in self.tasks):
            sees_source = inversion.inversion_prompt == "source"
            yield from ((place, task.source or "" if sees_source else "") for place, task in enumerate(self.tasks))
            guidances |= {inversion.inversion_guidance} if sees_source else set()
        if "negative-prompt" in self.backbone.provides and guidances - {1}:
            yield from ((place, self.negative) for place in range(len(self.tasks)))
