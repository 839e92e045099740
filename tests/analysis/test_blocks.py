"""Ranking of blocks: the one that knows where the object is comes first."""

import numpy as np
import pytest
import torch
from headrouter_analysis.analyses.blocks import Masked, rank_blocks
from headrouter_analysis.methods.depth import TextShare
from headrouter_analysis.noised import Noised
from headrouter_analysis.runs import Runs
from PIL import Image

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.errors import InvalidInputError
from headrouter.sampling.engine import Engine
from headrouter.sampling.inversion import RunInputs
from headrouter.sampling.noise import Noise
from headrouter.testing.toy import ToyMMDiT

from .world import Touched

PICTURE = Image.fromarray((np.random.default_rng(0).random((24, 16, 3)) * 255).astype(np.uint8))


def masked(number: int) -> Masked:
    mask = np.zeros((24, 16))
    mask[4 * (number % 4) : 4 * (number % 4) + 8, 4 : 12 - 4 * (number % 2)] = 1
    return Masked(PICTURE, mask, f"a {'red' if number % 2 else 'large blue'} dog", "dog", seed=number)


ITEMS = [masked(number) for number in range(6)]


def planted(block: int, *, text_first: bool, image_keys: bool = False) -> Touched:
    """A toy in one block of which the object's image tokens look at the word, or the word at them."""
    toy = Touched(text_first=text_first)

    def touch(event: JointAttention) -> None:
        if event.site.index != block:
            return
        changed = event.key.clone() if image_keys else event.query.clone()
        other = event.query if image_keys else event.key
        for place, item in enumerate(event.rows):
            cells = torch.from_numpy(ITEMS[item.row.image].coverage(event.layout.grid)) > 0.5
            (position,) = item.row.prompt.find("dog")
            word = other[place, :, event.layout.text.start + position]
            image = torch.arange(event.layout.image.start, event.layout.image.stop)[cells]
            changed[place, :, image] = word[:, None].expand(-1, len(image), -1)
        if image_keys:
            event.key = changed
        else:
            event.query = changed

    toy.touch = touch
    return toy


@pytest.mark.parametrize(("direction", "text_first"), [("T2I", True), ("T2I", False), ("I2T", True), ("I2T", False)])
@pytest.mark.parametrize("block", [0, 1, 2])
def test_the_informative_block_is_found(block: int, direction: str, text_first: bool) -> None:
    toy = planted(block, text_first=text_first, image_keys=direction == "I2T")
    scores = rank_blocks(Runs(toy, steps=2, size=(16, 24)), ITEMS, direction=direction, batch=6)
    assert scores[0].block == block
    assert scores[0].area_under_curve.low > 0.9 and scores[0].overlap.value > 0.9
    others = [score.area_under_curve for score in scores[1:]]
    assert all(one.high < scores[0].area_under_curve.low for one in others)
    assert len({score.block for score in scores}) == 3


def test_the_share_of_the_text_is_measured_beside_it() -> None:
    scores = rank_blocks(Runs(ToyMMDiT(), steps=2, size=(16, 24)), ITEMS)
    runs = Runs(ToyMMDiT(), steps=2, size=(16, 24))
    for number, item in enumerate(ITEMS):
        shown = runs.look([item.picture], [item.prompt], [item.seed], [TextShare()])
        share = shown.diagnostics[0]["text_share"][0].mean(dim=0).sum(dim=-1)
        whole = share if number == 0 else whole + share
    for score in scores:
        assert score.text_share.value == pytest.approx(float(whole[score.block]) / len(ITEMS), abs=1e-6)


def test_batches_change_nothing() -> None:
    runs = Runs(ToyMMDiT(), steps=2, size=(16, 24))
    whole, parts = (rank_blocks(runs, ITEMS, batch=batch) for batch in (6, 4))
    for one, other in zip(whole, parts, strict=True):
        assert one.block == other.block
        assert one.area_under_curve.value == pytest.approx(other.area_under_curve.value, abs=1e-6)


def test_a_threshold_is_never_better_than_the_best() -> None:
    runs = Runs(ToyMMDiT(), steps=1, size=(16, 24))
    best = {score.block: score.overlap.value for score in rank_blocks(runs, ITEMS)}
    cut = {score.block: score.overlap.value for score in rank_blocks(runs, ITEMS, threshold=0.8)}
    assert all(cut[block] <= best[block] + 1e-12 for block in best) and cut != best


def test_coverage_is_the_share_of_each_cell() -> None:
    item = masked(0)
    cells = item.coverage((3, 2)).reshape(3, 2)
    assert np.allclose(cells, item.mask.reshape(3, 8, 2, 8).mean(axis=(1, 3)))


@pytest.mark.parametrize(
    ("mask", "prompt", "said"),
    [
        (np.ones((16, 24)), "a dog", "as large as its picture, 16x24 .got 24x16"),
        (np.zeros((24, 16)), "a dog", "some of the picture inside"),
        (np.ones((24, 16)), "a dog", "some of the picture inside"),
        (np.full((24, 16), 2.0), "a dog", "values from 0"),
        (np.eye(24, 16), "a cat", "'dog' is not in the prompt 'a cat'. Its words: a, cat"),
    ],
)
def test_pictures_that_cannot_be_scored_are_refused(mask, prompt, said) -> None:
    with pytest.raises(InvalidInputError, match=said):
        Masked(PICTURE, mask, prompt, "dog")


def test_a_noised_picture_is_shown_at_every_level_and_ends_as_itself() -> None:
    toy, shown = ToyMMDiT(), []
    picture, noise = torch.randn(2, 48, 4, 4), Noise([1, 2], (48, 4, 4), torch.device("cpu"))
    nothing, text = toy.encode_prompts(["", "a dog"])
    rows = [Row(text, nothing, 1.0, edit=0, image=image) for image in (1, 0)]
    sigmas = (1.0, 0.6, 0.25, 0.0)
    plain = toy.velocity
    toy.velocity = lambda x, sigma, rows: (shown.append((x, sigma)), plain(x, sigma, rows))[1]
    sampled = Engine(toy).sample(Noised(), [], rows, RunInputs(sigmas, picture, noise))
    assert [sigma for _, sigma in shown] == [1.0, 0.6, 0.25]
    for latents, sigma in shown:
        expected = (1 - sigma) * picture + sigma * noise("start", 0)
        assert torch.allclose(latents, expected[[1, 0]])
    assert torch.equal(sampled.latents, picture[[1, 0]])
