"""Masks: what they give on each grid, how they combine, what takes them, and what is refused before a model runs."""

from typing import Any

import numpy as np
import pytest
import torch
from headrouter_blending.method import LocalBlend
from headrouter_injection.method import Injection
from headrouter_inversions.flowedit import FlowEdit
from PIL import Image

from headrouter import Editor
from headrouter.editing.replay import replay
from headrouter.editing.tuning import Plan
from headrouter.errors import HeadRouterError, IncompatibleError, InvalidInputError, UnknownNameError
from headrouter.experiments.composing import configure
from headrouter.experiments.planning.rehearsal import rehearse
from headrouter.imaging.pasting import pasted
from headrouter.masks.combined import Grow, Union
from headrouter.masks.context import MaskContext
from headrouter.masks.grids import blended, grown, resampled, smoothed
from headrouter.masks.mask import NoMask
from headrouter.masks.part import described, mask_of
from headrouter.masks.velocity import VelocityMask, difference_sums, velocity_mask
from headrouter.masks.words import WordsMask
from headrouter.methods.head_router.method import HeadRouter
from headrouter.testing.toy import ToyMMDiT

PICTURE = Image.fromarray((np.random.default_rng(0).random((48, 64, 3)) * 255).astype(np.uint8))
HALF = np.arange(64)[None].repeat(48, 0) < 20
ONES, ZEROS = NoMask(), ~NoMask()


def edit(method: Any = None, inversion: Any = "euler", toy: ToyMMDiT | None = None, **values: Any) -> Any:
    editor = Editor(toy or ToyMMDiT(), inversion, method, progress=False)
    asked = {"steps": 4, "size": (32, 24), "maps": False, **values}
    return editor.edit(PICTURE, "a red dog", "a red cat", **asked)


def pixels(result: Any) -> Any:
    return np.asarray(result.image)


# Grids.


@pytest.mark.parametrize("size", [(4, 6), (2, 3), (8, 12), (4, 12), (8, 3)])
def test_resampling_keeps_ones_zeros_and_shares(size: tuple[int, int]) -> None:
    for soft in (True, False):
        for value in (0.0, 1.0):
            assert torch.equal(resampled(torch.full((4, 6), value), size, soft), torch.full(size, value))
        found = resampled(torch.rand(4, 6, generator=torch.Generator().manual_seed(1)), size, soft)
        assert found.shape == size and found.min() >= 0 and found.max() <= 1


def test_a_soft_mask_keeps_its_mean_and_a_hard_one_its_cells() -> None:
    mask = torch.rand(12, 16, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(resampled(mask, (3, 4), soft=True).mean(), mask.mean())
    one = torch.zeros(12, 16)
    one[5, 9] = 1
    cells = resampled(one, (3, 4), soft=False)
    assert cells.sum() == 1 and cells[1, 2] == 1
    assert resampled(cells, (12, 16), soft=False).sum() == 16, "nearest keeps the share"


def test_growth_and_smoothing_by_hand() -> None:
    mask = torch.zeros(10, 20)
    mask[4, 7] = 1
    expected = torch.zeros(10, 20)
    expected[2:7, 5:10] = 1
    assert torch.equal(grown(mask, 0.2), expected) and torch.equal(grown(expected, -0.2), mask)
    assert torch.equal(1 - grown(1 - mask, -0.2), expected), "shrinking is growing the complement"
    assert torch.equal(smoothed(torch.ones(5, 7), 0.3), torch.ones(5, 7))
    soft = smoothed(mask, 0.1)
    assert 0 < soft[4, 7] < 1 and soft.sum().item() == pytest.approx(1, abs=1e-4)
    assert grown(mask, 0.5).shape == mask.shape


def test_blending_is_exact_at_the_ends() -> None:
    source, other = torch.randn(3, 4), torch.randn(3, 4)
    mask = torch.tensor([1.0, 0.0, 0.5, 1.0])
    found = blended(source, other, mask)
    assert torch.equal(found[:, 0], other[:, 0]) and torch.equal(found[:, 1], source[:, 1])
    torch.testing.assert_close(found[:, 2], (source[:, 2] + other[:, 2]) / 2)


# Expressions.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("words | ~velocity", WordsMask() | ~VelocityMask()),
        ("grow(words, by=0.1) & none", WordsMask().grown(0.1) & NoMask()),
        ("harden(velocity(form='short'), 0.7)", VelocityMask(form="short").hardened(0.7)),
        ("words(target_words=['dog', 'red'])", WordsMask(target_words=("dog", "red"))),
    ],
)
def test_text_and_operators_say_the_same(text: str, expected: Any) -> None:
    assert mask_of(text) == expected == mask_of(described(expected))
    assert hash(mask_of(text)) == hash(expected)


TOP = np.arange(48)[:, None].repeat(64, 1) < 30


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (mask_of(HALF) | mask_of(TOP), HALF | TOP),
        (mask_of(HALF) & mask_of(TOP), HALF & TOP),
        (~mask_of(HALF), ~HALF),
        (mask_of(HALF).grown(0.1), np.arange(64)[None].repeat(48, 0) < 25),
        (mask_of(HALF).grown(-0.1), np.arange(64)[None].repeat(48, 0) < 15),
        (mask_of(HALF).smoothed(0.05), None),
    ],
    ids=["union", "intersection", "complement", "grown", "shrunk", "smoothed"],
)
def test_masks_combine_pixel_by_pixel(mask: Any, expected: Any) -> None:
    found = np.asarray(edit(mask=mask, paste=True, steps=1).mask())
    if expected is None:  # half at the edge, nearly all and nothing four σ away from it, and softer on the way
        levels = found[24].astype(int)
        assert levels[:10].min() >= 250 and levels[30:].max() <= 5 and (np.diff(levels) <= 0).all()
        assert levels[19] + levels[20] == pytest.approx(255, abs=4)
    else:
        np.testing.assert_array_equal(found >= 128, expected)
        assert set(np.unique(found)) <= {0, 255}


def test_a_text_that_is_too_long_for_a_file_is_read_as_any_other() -> None:
    assert len(mask_of(" | ".join(["velocity"] * 100)).of) == 2
    with pytest.raises(UnknownNameError, match="`mask`"):
        mask_of("x" * 100_000)


def test_a_name_that_is_a_file_too_is_asked_about(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("words", "region1"):
        Image.fromarray(HALF).save(tmp_path / name, format="PNG")
    assert mask_of("region1") == mask_of(HALF), "no mask has this name"
    with pytest.raises(InvalidInputError, match=r"name of a mask and of a file\. Which is meant"):
        mask_of("words")
    assert mask_of("./words") == mask_of(HALF)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("wrods", UnknownNameError, "Did you mean 'words'.*There is no file 'wrods' either"),
        ("words + velocity", InvalidInputError, "cannot be read: join masks by"),
        ("words |", InvalidInputError, "cannot be read"),
        ("__import__('os').getcwd()", InvalidInputError, "cannot be read|cannot read"),
        ("velocity(form='long')", InvalidInputError, "`mask.form`"),
        ("grow(words, 0)", InvalidInputError, "leave `grow` out"),
        (7, InvalidInputError, "must be a name, an expression"),
        (lambda picture, prompt: None, InvalidInputError, "can be imported by name"),
    ],
)
def test_other_masks_are_refused(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mask_of(value)


# The velocity mask.


def test_the_scout_is_the_formula_in_loops() -> None:
    """On a known velocity: v = x for the source, v = 2·x for the edit."""
    toy, levels = ToyMMDiT(), (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
    source, dog, nothing = toy.encode_prompts(["a cat", "a dog", ""])
    from headrouter.attention.rows import Row

    rows = (Row(source, nothing, 3.0), Row(dog, nothing, 3.0, edit=0))
    picture = torch.randn(1, 2, 6, 8, generator=torch.Generator().manual_seed(3))
    noise = {step: torch.randn(1, 2, 6, 8, generator=torch.Generator().manual_seed(step)) for step in range(5)}
    context = MaskContext(rows, (), range(5), levels, picture, lambda name, step: noise[step])
    asked = []

    def evaluate(latents: Any, sigma: float, given: Any) -> Any:
        asked.append((sigma, [row.guidance for row in given]))
        return torch.stack([latents[0], 2 * latents[1]])

    mask = VelocityMask(window=3)
    steps, middle = mask.levels(range(5))
    sums = difference_sums(context, steps, middle, evaluate)
    z, total = picture[0].clone(), torch.zeros(2, 6, 8)
    for step in range(middle.stop):
        sigma = levels[step]
        z_s = (1 - sigma) * picture[0] + sigma * noise[step][0]
        d = 2 * (z_s + z - picture[0]) - z_s
        z = z + (levels[step + 1] - sigma) * d
        total = total + d if step in middle else total
    torch.testing.assert_close(sums[1], total)
    assert not sums[0].any() and asked == [(levels[step], [1.0, 1.0]) for step in range(middle.stop)]
    found = velocity_mask(sums[1], mask)
    size = np.pad(total.norm(dim=0).numpy(), 1, mode="edge")
    even = np.array([[size[y : y + 3, x : x + 3].mean() for x in range(8)] for y in range(6)])
    low, high = np.quantile(even, [0.1, 0.9])
    scaled = (even.clip(low, high) - low) / (high - low)
    np.testing.assert_allclose(found.numpy(), 1 / (1 + np.exp(-(scaled - 0.55) / 0.08)), atol=1e-5)


def test_equal_velocities_differ_nowhere() -> None:
    assert not velocity_mask(torch.zeros(2, 6, 8), VelocityMask()).any()


def test_a_scout_is_counted_and_planned() -> None:
    plain, full, short = (
        edit(LocalBlend(mask=mask, blend=1.0), FlowEdit(last_steps=1.0), steps=12).cost.calls
        for mask in (NoMask(), VelocityMask(), VelocityMask(form="short"))
    )
    assert (plain, full - plain, short - plain) == (12, 9, 3)
    way = Plan(FlowEdit(last_steps=1.0), (LocalBlend(mask=VelocityMask()),), 12, 3.0)
    assert rehearse(way).sampling == full


# What takes a mask: all ones, and all zeros.


def test_injection_outside_a_mask() -> None:
    whole, plain = edit(Injection(replace="kivi", tau=1.0)), edit()
    ones, zeros, half = (edit(Injection(replace="kivi", tau=1.0, mask=mask)) for mask in (ONES, ZEROS, mask_of(HALF)))
    assert np.array_equal(pixels(ones), pixels(plain)) and np.array_equal(pixels(zeros), pixels(whole))
    assert not np.array_equal(pixels(half), pixels(plain)) and not np.array_equal(pixels(half), pixels(whole))
    with pytest.raises(ValueError, match="concerns more than queries, keys and values of image tokens"):
        Injection(replace="qikt", mask=ONES)


def test_headrouter_inside_a_mask() -> None:
    own = {"image_tokens": "off", "rho": 0.0, "gamma": 2.0}
    image, plain = edit(HeadRouter(where="image", **own)), edit()
    ones, zeros, half = (edit(HeadRouter(where="mask", mask=mask, **own)) for mask in (ONES, ZEROS, mask_of(HALF)))
    assert np.abs(pixels(ones).astype(int) - pixels(image)).max() <= 1
    assert np.array_equal(pixels(zeros), pixels(plain)) and not np.array_equal(pixels(half), pixels(plain))
    knob = edit(HeadRouter(where="mask", **own), mask=HALF)
    assert np.array_equal(pixels(knob), pixels(half))
    with pytest.raises(InvalidInputError, match=r"`method\.where` 'mask' needs a mask"):
        edit(HeadRouter(where="mask"))
    with pytest.raises(ValueError, match="`mask` has an effect with `where` 'mask' alone"):
        HeadRouter(mask=ONES)


def test_the_mask_of_an_edit_goes_to_parts_without_one() -> None:
    own, given = LocalBlend(mask="attention"), LocalBlend()
    result = edit([given, own, "none"], mask="velocity")
    names = [part.parameters.get("mask") for part in result.record.methods]
    assert names == [{"name": "velocity"}, {"name": "attention"}, None]
    assert result.record.edit.mask == {"name": "velocity"}


# Pasting.


def test_outside_the_seam_every_pixel_is_the_originals() -> None:
    """512 pixels worked at 32, and a feather of 1/16 of them."""
    large = Image.fromarray((np.random.default_rng(1).random((512, 512, 3)) * 255).astype(np.uint8))
    inside = np.zeros((512, 512), bool)
    inside[100:300, 200:400] = True
    editor = Editor(ToyMMDiT(), "euler", None, progress=False)
    plain, result = (
        editor.edit(large, "a red dog", "a red cat", steps=2, size=(32, 32), maps=False, **more)
        for more in ({}, {"mask": inside, "paste": True, "feather": 1 / 16})
    )
    found, original, edited = (np.asarray(one) for one in (result.image, large, plain.image))
    y, x = np.mgrid[:512, :512]
    distance = np.hypot(np.maximum(0, np.maximum(100 - y, y - 299)), np.maximum(0, np.maximum(200 - x, x - 399)))
    assert np.array_equal(found[distance >= 32], original[distance >= 32])
    assert np.array_equal(found[inside], edited[inside])
    seam = (distance > 4) & (distance < 28)
    assert (found[seam] != original[seam]).any() and (found[seam] != edited[seam]).any()


def test_pasting_nothing_and_everything() -> None:
    other = Image.new("RGB", PICTURE.size, "teal")
    assert np.array_equal(np.asarray(pasted(other, PICTURE, np.zeros((48, 64), np.uint8))), np.asarray(PICTURE))
    assert np.array_equal(np.asarray(pasted(other, PICTURE, np.full((48, 64), 255, np.uint8))), np.asarray(other))


def test_replay_reads_the_mask(tmp_path: Any) -> None:
    from headrouter.editing.record_file import read_record

    result = edit("local-blend", mask=HALF, paste=True, feather=0.1)
    result.save(tmp_path)
    record = read_record(tmp_path)
    assert record.hash == result.record.hash
    assert (record.edit.paste, record.edit.feather) == (True, 0.1)
    values = {name: getattr(record.edit, name) for name in ("mask", "paste", "feather")}
    assert np.array_equal(pixels(edit("local-blend", **values)), pixels(result))
    with Image.open(tmp_path / "mask-0.png") as saved:
        assert np.array_equal(np.asarray(saved) > 0, HALF)
    assert callable(replay)


# Segmentation.

CALLS: list[str] = []


def left(picture: Image.Image, prompt: str) -> Any:
    CALLS.append(prompt)
    return np.arange(picture.width)[None].repeat(picture.height, 0) < 20


def nothing(picture: Image.Image, prompt: str) -> Any:
    return np.zeros((picture.height, picture.width), bool)


def small(picture: Image.Image, prompt: str) -> Any:
    return HALF[:20]


def test_a_function_segments_each_picture_once() -> None:
    CALLS.clear()
    result = edit(mask=left, paste=True)
    assert CALLS == ["a red dog"] and np.array_equal(np.asarray(result.mask()) > 0, HALF)
    assert result.record.edit.mask["function"].endswith("test_masks:left")


# Refusals, before a model runs.


class Deaf(ToyMMDiT):
    """Its model must not run."""

    def velocity(self, *arguments: Any, **others: Any) -> Any:
        raise AssertionError("the model ran")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mask": HALF[:20], "paste": True}, "size of the picture, 64x48 pixels, got 64x20.*another aspect"),
        ({"mask": HALF[::2, ::2], "paste": True}, "64x48 pixels, got 32x24. Resize the mask.$"),
        ({"mask": np.zeros_like(HALF), "paste": True}, "black everywhere, so the edit may act nowhere"),
        ({"mask": ~np.zeros_like(HALF), "paste": True}, "white everywhere, so the edit may act everywhere"),
        ({"mask": "words(target_words='fox')", "paste": True}, "'fox' is not in the prompt 'a red dog'"),
        ({"mask": "words(blocks=[9])", "paste": True}, r"`mask.blocks` \[9\] do not exist"),
        ({"mask": "region", "paste": True}, "works in experiments alone"),
        ({"mask": nothing, "paste": True}, "test_masks:nothing' failed .*black everywhere"),
        ({"mask": small, "paste": True}, "must return a mask of the picture's size, 64x48, got 64x20"),
        ({"paste": True}, "there is none. Give a `mask`"),
        ({"feather": 0.1}, "`feather` 0.1 would have no effect"),
        ({"mask": HALF}, "no operator and no method takes it"),
    ],
)
def test_what_cannot_be_is_refused_before_the_model_runs(values: dict[str, Any], message: str) -> None:
    with pytest.raises(HeadRouterError, match=f"(?s){message}"):
        edit(toy=Deaf(), **values)


def test_a_mask_of_attention_needs_a_model_that_is_heard() -> None:
    class Unheard(Deaf):
        provides = frozenset({"guidance", "negative-prompt"})

    with pytest.raises(IncompatibleError, match=r"`mask` 'words' .*needs .*joint-attention"):
        edit(toy=Unheard(), mask="words", paste=True)


# Experiments.


def test_a_configuration_has_a_mask() -> None:
    plain, masked = (
        configure("a", inversion="flowedit", method="local-blend", mask=one) for one in ("none", "velocity")
    )
    assert plain.mask is None and masked.mask == VelocityMask() and masked.plan.mask == VelocityMask()
    assert masked.hash != plain.hash
    assert isinstance((WordsMask() | VelocityMask()).grown(0.1), Grow) and isinstance(WordsMask() | ONES, Union)
