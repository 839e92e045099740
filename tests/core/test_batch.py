"""Many pictures in one batch: each edit is what it is alone, whatever shares its model calls."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from headrouter_inversions.euler import Euler
from headrouter_inversions.flowedit import FlowEdit
from headrouter_inversions.rf import RFInversion
from headrouter_inversions.rf_sde import RFInversionSDE
from PIL import Image

from headrouter.editing.batch import Batch, Edited, Task
from headrouter.editing.editor import Editor
from headrouter.editing.tuning import Plan
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.word_maps import WordMaps
from headrouter.sampling.inversion import Inversion
from headrouter.testing.toy import ToyMMDiT

SIZE = (24, 16)
PROMPTS = [("a blue dog", "two dogs"), ("a tree",), ("one", "two three", "four five six")]


class Watched(ToyMMDiT):
    """A toy that counts the rows of every call."""

    def velocity(self, latents: torch.Tensor, sigma: float, rows: Any) -> torch.Tensor:
        self.calls = [*getattr(self, "calls", []), [(row.image, row.is_source) for row in rows]]
        return super().velocity(latents, sigma, rows)


@pytest.fixture
def toy() -> Iterator[Watched]:
    yield Watched()


def tasks(seeds: tuple[int, ...] = (4,)) -> tuple[Task, ...]:
    draw = torch.Generator().manual_seed(0)
    pixels = [torch.rand(1, 3, *SIZE[::-1], generator=draw) * 2 - 1 for _ in PROMPTS]
    return tuple(
        Task(prompts, tuple(seed + place for seed in seeds), f"a cat {place}", picture)
        for place, (prompts, picture) in enumerate(zip(PROMPTS, pixels, strict=True))
    )


def batch(toy: ToyMMDiT, some: tuple[Task, ...], inversion: Inversion | None = None, **values: Any) -> Batch:
    compares = () if values.get("phase") == "generate" else (HeadRouter(),)
    return Batch(toy, Plan(inversion or RFInversion(), (*compares, WordMaps()), 3, 2.0), some, SIZE, **values)


def agree(first: Edited, second: Edited) -> None:
    assert torch.allclose(first.latents, second.latents, atol=1e-4)
    for one, other in zip(first.diagnostics, second.diagnostics, strict=True):
        for name in one:
            longest = min(one[name].shape[1], other[name].shape[1])  # maps of shorter prompts are padded
            assert torch.allclose(one[name][:, :longest], other[name][:, :longest], atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("inversion", [RFInversion(), Euler(), FlowEdit()], ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("most", [None, 2, 3, 5])
def test_pictures_together_are_each_alone(inversion: Inversion, most: int | None, toy: Watched) -> None:
    together = batch(toy, tasks(), inversion, max_rows=most).edit()
    alone = [batch(ToyMMDiT(), (task,), inversion).edit() for task in tasks()]
    assert torch.allclose(together.latents, torch.cat([one.latents for one in alone]), atol=1e-4)
    weights = [one.diagnostics[0]["head_weights"] for one in (together, *alone)]
    assert torch.allclose(weights[0], torch.cat(weights[1:]), atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("most", [2, 3, 4, 7])
def test_no_call_has_more_rows(most: int, toy: Watched) -> None:
    found = batch(toy, tasks(), FlowEdit(), max_rows=most).edit()
    assert max(map(len, toy.calls)) <= most and len(found.latents) == 6
    for call in toy.calls:
        images = {image for image, _ in call}
        assert {image for image, is_source in call if is_source} == images, "each picture comes with its source"
    together = batch(Watched(), tasks(), FlowEdit()).edit()
    assert found.cost.calls > together.cost.calls
    agree(found, together)


def test_edits_come_by_picture_then_prompt_then_seed(toy: Watched) -> None:
    found = batch(toy, tasks((4, 9))).edit()
    single = [batch(ToyMMDiT(), tasks((seed,))).edit() for seed in (4, 9)]
    for place, one in enumerate(single):
        assert torch.equal(found.latents[place::2], one.latents), "the batch of each seed is the same"
        for several, own in zip(found.diagnostics, one.diagnostics, strict=True):
            assert all(several[name][place::2].equal(own[name]) or own[name].isnan().any() for name in own)
    assert torch.equal(found.inverted[1], single[1].inverted[0])


def test_an_inversion_without_noise_serves_every_seed(toy: Watched) -> None:
    free = RFInversionSDE(gamma=0.0)
    (first, second), cost = batch(toy, tasks((1, 2)), free).invert()
    assert first is second and cost.calls == len(toy.calls) == 3
    own, cost = batch(toy, tasks((1, 2))).invert()
    assert not torch.equal(*own) and cost.calls == 6
    kept = batch(Watched(), tasks((1, 2))).edit(own)
    assert torch.equal(kept.latents, batch(Watched(), tasks((1, 2))).edit().latents)


def test_new_pictures_have_neither_source_nor_inversion(toy: Watched) -> None:
    new = (Task(("a dog", "a cat", "a tree"), (1, 2)),)
    found = batch(toy, new, Euler(), phase="generate", max_rows=2).edit()
    assert found.inverted == [] and len(found.latents) == 6 and len(found.sources) == 0
    assert max(map(len, toy.calls)) == 2 and not any(is_source for call in toy.calls for _, is_source in call)


def test_what_would_have_no_effect_is_refused_before_anything_is_encoded(
    toy: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watched, "encode_prompts", lambda *_: pytest.fail("the model ran"))
    with pytest.raises(IncompatibleError, match=r"`seed` \[4, 5\] would give one and the same picture"):
        batch(toy, tasks((4, 5)), Euler())
    with pytest.raises(InvalidInputError, match="`guidance` 0 would evaluate the negative prompt alone"):
        Batch(toy, Plan(Euler(), (), 2, 0.0), tasks(), SIZE)


def test_pictures_of_one_size_are_edited_together() -> None:
    pictures = [Image.fromarray((np.random.default_rng(n).random((20, 28, 3)) * 255).astype(np.uint8)) for n in (0, 1)]
    editor = Editor(Watched(), "rf", progress=False)
    together = editor.edit_together(pictures, ["a blue dog", "a tree"], seed=[3, 1], steps=3)
    rows = max(map(len, editor.backbone.calls))
    assert rows == 6 and len(together) == 2
    for picture, result in zip(pictures, together, strict=True):
        alone = Editor(Watched(), "rf", progress=False).edit(picture, ["a blue dog", "a tree"], seed=[3, 1], steps=3)
        for one, other in zip(result.images, alone.images, strict=True):
            assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1
        assert np.abs(np.asarray(result.reconstruction).astype(int) - np.asarray(alone.reconstruction)).max() <= 1
        assert torch.allclose(result.text_map("dog", 1), alone.text_map("dog", 1), atol=1e-4)
        assert torch.allclose(result.head_weights, alone.head_weights, atol=1e-4, equal_nan=True)
        assert (result.cost.calls, result.cost.rows) == (alone.cost.calls, alone.cost.rows)
        assert result.record == alone.record and result.seeds == alone.seeds


def test_what_cannot_be_edited_together_is_refused() -> None:
    editor = Editor(ToyMMDiT(), "rf", progress=False)
    wide, narrow = Image.new("RGB", (32, 24)), Image.new("RGB", (24, 24))
    with pytest.raises(InvalidInputError, match=r"`images` must be of one size .*, got \[\(24, 24\), \(32, 24\)\]"):
        editor.edit_together([wide, narrow], "a dog")
    kept = editor.invert(wide, steps=2)
    with pytest.raises(InvalidInputError, match="`start` holds one picture, got 2"):
        editor.edit_together([wide, wide], "a dog", steps=2, start=kept)
    with pytest.raises(InvalidInputError, match=r"`stepz`: unknown name .* Did you mean `steps`"):
        editor.edit_together([wide], "a dog", stepz=2)
