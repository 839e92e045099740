"""Run many edits of many pictures in one batch.

What :class:`headrouter.editing.editor.Editor` does for one picture, done with the same engine for several: pictures, prompts and
noise differ from row to row, the rest is the configuration's. tests/shapes/test_bench.py holds both to the same result.
"""

import dataclasses
import time
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import torch

from headrouter.attention.rows import Row
from headrouter.editing.assembly import name_of
from headrouter.models.backbone import Backbone
from headrouter.sampling.cost import Cost
from headrouter.sampling.engine import Engine
from headrouter.sampling.guidance import refuse_idle_prompts
from headrouter.sampling.inversion import RunInputs
from headrouter.sampling.noise import Noise
from headrouter_shapes.bench.configuration import Configuration
from headrouter_shapes.bench.measures import Pictures
from headrouter_shapes.bench.sets import Case
from headrouter_shapes.world.drawing import PICTURE_SIZE
from headrouter_shapes.world.pool import to_pictures, to_tensor
from headrouter_shapes.world.render import render_array

Kept = MutableMapping[tuple[Any, ...], tuple[torch.Tensor, "Spent"]]
"""Inversions by what they depend on: latents [sources, C, h, w], and what they took."""


@dataclasses.dataclass(frozen=True, slots=True)
class Spent:
    """Holds the average cost of one edit: model calls, rows, seconds, and seconds of this thread's processor.

    On a machine that others use too, the processor's seconds are the ones to compare.
    """

    calls: float = 0.0
    rows: float = 0.0
    seconds: float = 0.0
    processor: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        """Return the sum of both costs."""
        return Spent(
            self.calls + other.calls,
            self.rows + other.rows,
            self.seconds + other.seconds,
            self.processor + other.processor,
        )

    @classmethod
    def share(cls, cost: Cost, processor: float, edits: int) -> "Spent":
        """Return the share of one among ``edits`` edits of a batch."""
        return cls(cost.calls, cost.rows / edits, cost.seconds / edits, processor / edits)


@torch.inference_mode()
def edit_batch(
    backbone: Backbone, configuration: Configuration, cases: Sequence[Case], kept: Kept
) -> tuple[Pictures, Spent]:
    """Edit the pictures of ``cases`` together.

    Args:
        backbone: Loaded as the configuration says.
        configuration: How.
        cases: Edits; those of one source share its inversion and its row.
        kept: Inversions that exist already; new ones are added.

    Returns:
        Edited pictures uint8 [B, 64, 64, 3] in the order of ``cases``, and what one edit took on average: calls as if it
        were alone, rows and seconds as its share of the batch, the inversion included even where it was kept.
    """
    if configuration.still:
        return _still(backbone, configuration.still, cases)
    inversion, steps = configuration.inversion, configuration.steps
    refuse_idle_prompts(backbone, inversion.sampling_guidance(False, configuration.guidance))
    sources = list({case.source_number: case for case in cases}.values())
    place = {case.source_number: index for index, case in enumerate(sources)}
    seeds = [case.seed(configuration.seed) for case in sources]
    noise = Noise(seeds, backbone.latent_shape(PICTURE_SIZE, PICTURE_SIZE), backbone.device)
    pictures = to_tensor(render_array([case.source for case in sources]))
    latents = backbone.encode_image(pictures.to(backbone.device))
    grid = tuple(backbone.sigmas(steps, PICTURE_SIZE, PICTURE_SIZE).tolist())
    inputs = RunInputs(grid, latents, noise)
    encode = _Encoder(backbone)
    empty, spent = encode(""), Spent()
    if inversion.inverts:
        sees = inversion.inversion_prompt == "source"
        prompts = [encode(case.source_prompt) if sees else empty for case in sources]
        key = (
            *configuration.loading,
            name_of("inversion", inversion),
            repr(inversion.inversion_parameters),
            steps,
            *((case.source, case.source_prompt, seed) for case, seed in zip(sources, seeds, strict=True)),
        )
        if key not in kept:
            rows = [Row(prompt, empty, inversion.inversion_guidance, image=n) for n, prompt in enumerate(prompts)]
            began = time.thread_time()
            start, cost = Engine(backbone).invert(inversion, rows, inputs)
            kept[key] = start, Spent.share(cost, time.thread_time() - began, len(cases))
        start, spent = kept[key]
        inputs = dataclasses.replace(inputs, inverted=start)
    guide = inversion.sampling_guidance
    guidance = guide(True, configuration.guidance), guide(False, configuration.guidance)
    rows = [Row(encode(case.source_prompt), empty, guidance[0], image=n) for n, case in enumerate(sources)]
    rows += [
        Row(encode(case.prompt), empty, guidance[1], edit=number, image=place[case.source_number])
        for number, case in enumerate(cases)
    ]
    began = time.thread_time()
    sampled = Engine(backbone).sample(inversion, configuration.methods, rows, inputs)
    edited = sampled.latents[[not row.is_source for row in sampled.rows]]
    spent += Spent.share(sampled.cost, time.thread_time() - began, len(cases))
    return to_pictures(backbone.decode(edited)), spent


def _still(backbone: Backbone, which: str, cases: Sequence[Case]) -> tuple[Pictures, Spent]:
    """Return the bounds: the source as it is, or the true target through the autoencoder."""
    if which == "source":
        return render_array([case.source for case in cases]), Spent()
    truth = to_tensor(render_array([case.target for case in cases])).to(backbone.device)
    return to_pictures(backbone.decode(backbone.encode_image(truth))), Spent()


class _Encoder:
    """Encodes each prompt once."""

    def __init__(self, backbone: Backbone):
        self._encode: Callable[[Sequence[str]], list[Any]] = backbone.encode_prompts
        self._known: dict[str, Any] = {}

    def __call__(self, text: str) -> Any:
        if text not in self._known:
            (self._known[text],) = self._encode([text])
        return self._known[text]
