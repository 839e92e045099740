"""Run an analysis in batches: generations, pairs from the same noise, and evaluations of noised pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, final

from PIL import Image
from tqdm import tqdm

from headrouter.attention.step_info import Phase
from headrouter.editing.assembly import inversion_of
from headrouter.editing.batch import Batch, Edited, Task
from headrouter.editing.request import working_size_of
from headrouter.editing.tuning import Plan
from headrouter.errors import InvalidInputError
from headrouter.imaging.picture import to_picture, to_tensor
from headrouter.methods.method import Method
from headrouter.models.backbone import Backbone
from headrouter.sampling.inversion import Inversion
from headrouter_analysis.noised import Noised

Item = TypeVar("Item")


@final
@dataclass(frozen=True, eq=False)
class Runs:
    """Holds a model and the settings that all runs of an analysis share.

    Attributes:
        backbone: The model.
        steps: Steps of the time grid; the model's default if None.
        guidance: Guidance of generations; the model's default if None.
        size: Width and height in pixels; a square of the model's training area if None.
    """

    backbone: Backbone
    steps: int | None = None
    guidance: float | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse what no model can run."""
        if self.steps is not None and self.steps < 1:
            raise InvalidInputError(f"`steps` must be at least 1 (got {self.steps}).")
        if self.guidance is not None and not 0 < self.guidance < 1000:
            raise InvalidInputError(
                f"`guidance` must be above 0, for maps and heads are those of the prompt (got {self.guidance})."
            )
        if self.size is not None and any(side < 1 or side % self.backbone.size_multiple for side in self.size):
            raise InvalidInputError(
                f"`size` must be positive multiples of {self.backbone.size_multiple} (got {self.size})."
            )

    @property
    def settings(self) -> dict[str, Any]:
        """Return plain data, for records."""
        width, height = self._size
        return {"steps": self._steps, "guidance": self._guidance, "width": width, "height": height}

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], methods: Sequence[Method] = ()) -> Edited:
        """Generate one picture of each prompt, each from its own seed, by Euler steps."""
        tasks = [Task((text,), (seed,)) for text, seed in zip(prompts, seeds, strict=True)]
        return self._batch(tasks, inversion_of("euler"), methods, "generate").edit()

    def compare(
        self, pairs: Sequence[tuple[str, str]], seeds: Sequence[int], methods: Sequence[Method], *, keep: bool = False
    ) -> Edited:
        """Generate two pictures of each pair from the same noise, as a source's row and an edit's.

        With ``keep`` the first pictures are drawn to the end too, as ``sources``; without, the last step may drop them.
        """
        tasks = [Task((second,), (seed,), first) for (first, second), seed in zip(pairs, seeds, strict=True)]
        return self._batch(tasks, inversion_of("euler"), methods, "generate").edit(keep_sources=keep)

    def look(
        self, pictures: Sequence[Image.Image], prompts: Sequence[str], seeds: Sequence[int], methods: Sequence[Method]
    ) -> Edited:
        """Show the model noised pictures at every noise level of the grid, each with its prompt, without guidance."""
        given = zip(pictures, prompts, seeds, strict=True)
        tasks = [Task((text,), (seed,), pixels=to_tensor(picture, self._size)) for picture, text, seed in given]
        return self._batch(tasks, Noised(), methods, "generate", guidance=1.0).edit()

    def edit(
        self,
        inversion: Inversion,
        pictures: Sequence[Image.Image],
        pairs: Sequence[tuple[str, str]],
        seeds: Sequence[int],
        variants: Sequence[Sequence[Method]],
    ) -> list[list[Image.Image]]:
        """Edit each picture, from the first prompt of its pair to the second, once for each list of methods.

        All variants start from one inversion.
        """
        given = zip(pictures, pairs, seeds, strict=True)
        tasks = [
            Task((target,), (seed,), source, to_tensor(picture, self._size))
            for picture, (source, target), seed in given
        ]
        batch = self._batch(tasks, inversion, (), "sample")
        start, _ = batch.invert()
        steered = [replace(batch, plan=replace(batch.plan, methods=tuple(methods))) for methods in variants]
        return [self.pictures(one.edit(start)) for one in steered]

    def pictures(self, edited: Edited) -> list[Image.Image]:
        """Return the generated pictures."""
        return [to_picture(self.backbone.decode(row[None])[0]) for row in edited.latents]

    def _batch(
        self,
        tasks: Sequence[Task],
        inversion: Inversion,
        methods: Sequence[Method],
        phase: Phase,
        guidance: float | None = None,
    ) -> Batch:
        plan = Plan(inversion, tuple(methods), self._steps, self._guidance if guidance is None else guidance)
        return Batch(self.backbone, plan, tuple(tasks), self._size, phase=phase)

    @property
    def _steps(self) -> int:
        return self.steps or self.backbone.defaults.steps

    @property
    def _guidance(self) -> float:
        return self.backbone.defaults.guidance if self.guidance is None else self.guidance

    @property
    def _size(self) -> tuple[int, int]:
        return working_size_of(self.size or "auto", (1, 1), self.backbone)


def batches(items: Sequence[Item], size: int, label: str, *, progress: bool = False) -> Iterator[Sequence[Item]]:
    """Yield items a batch at a time, with a bar that counts items."""
    if size < 1:
        raise InvalidInputError(f"`batch` must be at least 1 (got {size}).")
    with tqdm(total=len(items), desc=label, disable=None if progress else True, leave=False) as bar:
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            yield batch
            bar.update(len(batch))
