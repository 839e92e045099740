"""Run an analysis in batches: generations, pairs from the same noise, and evaluations of noised pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, final

import torch
from PIL import Image
from tqdm import tqdm

from headrouter.attention.rows import Row
from headrouter.editing.assembly import inversion_of
from headrouter.editing.job import own_size
from headrouter.errors import InvalidInputError
from headrouter.imaging.picture import to_picture, to_tensor
from headrouter.methods.method import Method
from headrouter.models.backbone import Backbone
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.engine import Engine, Sampled
from headrouter.sampling.inversion import Inversion, RunInputs
from headrouter.sampling.noise import Noise
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

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], methods: Sequence[Method] = ()) -> Sampled:
        """Generate one picture of each prompt, each from its own seed, by Euler steps."""
        *texts, negative = self._encode(prompts)
        rows = [Row(text, negative, self._guidance, edit=0, image=i) for i, text in enumerate(texts)]
        return self._sample(inversion_of("euler"), rows, seeds, methods)

    def compare(
        self, pairs: Sequence[tuple[str, str]], seeds: Sequence[int], methods: Sequence[Method], *, keep: bool = False
    ) -> Sampled:
        """Generate two pictures of each pair from the same noise, as a source's row and an edit's.

        With ``keep`` both stay to the end, in the order first, second, first, …; without, the last step may drop the first.
        """
        *texts, negative = self._encode([text for pair in pairs for text in pair])
        rows = [
            Row(text, negative, self._guidance, edit=None if place % 2 == 0 else 0, image=place // 2)
            for place, text in enumerate(texts)
        ]
        return self._sample(inversion_of("euler"), rows, seeds, methods, keep=keep)

    def look(
        self, pictures: Sequence[Image.Image], prompts: Sequence[str], seeds: Sequence[int], methods: Sequence[Method]
    ) -> Sampled:
        """Show the model noised pictures at every noise level of the grid, each with its prompt, without guidance."""
        *texts, negative = self._encode(prompts)
        rows = [Row(text, negative, 1.0, edit=0, image=i) for i, text in enumerate(texts)]
        source = self.backbone.encode_image(self._pixels(pictures))
        return self._sample(Noised(), rows, seeds, methods, source)

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
        *texts, empty = self._encode([text for pair in pairs for text in pair])
        sources, targets = texts[::2], texts[1::2]
        latents = self.backbone.encode_image(self._pixels(pictures))
        inputs = self._inputs(seeds, latents)
        if inversion.inverts:
            known = sources if inversion.inversion_prompt == "source" else [empty] * len(sources)
            given = [Row(text, empty, inversion.inversion_guidance, image=i) for i, text in enumerate(known)]
            inputs = replace(inputs, inverted=Engine(self.backbone).invert(inversion, given, inputs)[0])
        guide = inversion.sampling_guidance
        rows = [
            Row(text, empty, guide(edit is None, self._guidance), edit=edit, image=i)
            for i, both in enumerate(zip(sources, targets, strict=True))
            for edit, text in zip((None, 0), both, strict=True)
        ]
        found = []
        for methods in variants:
            sampled = Engine(self.backbone).sample(inversion, methods, rows, inputs)
            edits = [place for place, row in enumerate(sampled.rows) if not row.is_source]
            found.append(self._decoded(sampled.latents[edits]))
        return found

    def pictures(self, sampled: Sampled) -> list[Image.Image]:
        """Return the generated pictures."""
        return self._decoded(sampled.latents)

    def _decoded(self, latents: torch.Tensor) -> list[Image.Image]:
        return [to_picture(self.backbone.decode(row[None])[0]) for row in latents]

    def _pixels(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        return torch.cat([to_tensor(picture, self._size) for picture in pictures]).to(self.backbone.device)

    def _inputs(self, seeds: Sequence[int], source: torch.Tensor | None = None) -> RunInputs:
        noise = Noise(seeds, self.backbone.latent_shape(*self._size), self.backbone.device)
        sigmas = tuple(self.backbone.sigmas(self._steps, *self._size).tolist())
        return RunInputs(sigmas, noise("start", 0) if source is None else source, noise)

    def _sample(
        self,
        inversion: Inversion,
        rows: Sequence[Row],
        seeds: Sequence[int],
        methods: Sequence[Method],
        source: torch.Tensor | None = None,
        *,
        keep: bool = False,
    ) -> Sampled:
        inputs = self._inputs(seeds, source)
        return Engine(self.backbone).sample(inversion, methods, rows, inputs, phase="generate", keep_source=keep)

    def _encode(self, prompts: Sequence[str]) -> list[Prompt]:
        """Return each prompt, and the empty one; a prompt that is there twice is encoded once."""
        different = list(dict.fromkeys([*prompts, ""]))
        encoded = dict(zip(different, self.backbone.encode_prompts(different), strict=True))
        return [encoded[text] for text in [*prompts, ""]]

    @property
    def _steps(self) -> int:
        return self.steps or self.backbone.defaults.steps

    @property
    def _guidance(self) -> float:
        return self.backbone.defaults.guidance if self.guidance is None else self.guidance

    @property
    def _size(self) -> tuple[int, int]:
        if self.size is not None:
            return self.size
        return own_size((1, 1), self.backbone)


def batches(items: Sequence[Item], size: int, label: str, *, progress: bool = False) -> Iterator[Sequence[Item]]:
    """Yield items a batch at a time, with a bar that counts items."""
    if size < 1:
        raise InvalidInputError(f"`batch` must be at least 1 (got {size}).")
    with tqdm(total=len(items), desc=label, disable=None if progress else True, leave=False) as bar:
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            yield batch
            bar.update(len(batch))
