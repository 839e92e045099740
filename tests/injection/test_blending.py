"""Local blending: the mask is what the formula says, the latents are the source's outside it, and bad input is refused in time."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from headrouter_blending.method import LocalBlend
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux.parameters import FluxParameters
from headrouter_injection.method import Injection
from headrouter_inversions.rf import RFInversion
from headrouter_inversions.rf_sde import RFInversionSDE
from headrouter_sd3.parameters import SD3Parameters
from PIL import Image
from pydantic import ValidationError

from headrouter import Editor
from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.editing.assembly import methods_of, model_of
from headrouter.editing.sheet import edit_sheet
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.masks.attention import AttentionMask
from headrouter.masks.grids import gaussian
from headrouter.masks.mask import NoMask
from headrouter.masks.picture import PictureMask
from headrouter.masks.words import WordsMask, normalised, smoothed_map, words_mask
from headrouter.methods.method import Needs
from headrouter.methods.running_masks import RunningMasks
from headrouter.models.backbone import Defaults
from headrouter.plugins.specifications import Model
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.engine import Engine
from headrouter.testing import MethodConformance, MethodSubject
from headrouter.testing.toy import ToyMMDiT

from .runs import INVERSIONS, STEPS, event, inputs, layout, rows, sample

PICTURE = Image.fromarray((np.random.default_rng(0).random((24, 32, 3)) * 255).astype(np.uint8))
HALF = np.arange(32)[None, :] < np.full((24, 1), 16)
"""A mask of the picture: its left half."""
BLACK, WHITE = ~NoMask(), NoMask()


class TestConformance(MethodConformance):
    @pytest.fixture(
        params=[
            MethodSubject("local-blend", LocalBlend(mask=WordsMask(theta=0.9), blend=1.0), LocalBlend(blend=0)),
            MethodSubject(
                "local-blend-difference",
                LocalBlend(mask=AttentionMask(theta=0.9), blend=1.0),
                LocalBlend(mask=AttentionMask(), blend=0),
            ),
            MethodSubject(
                "local-blend-mask", LocalBlend(mask=np.arange(24)[None].repeat(16, 0) < 12), LocalBlend(blend=0)
            ),
        ],
        ids=lambda subject: subject.name,
    )
    def method(self, request: pytest.FixtureRequest) -> Any:
        return request.param


# The mask, as a function.


def by_hand(
    grid: np.ndarray[Any, Any], factor: int, *, widen: bool = True, edges: str = "same"
) -> np.ndarray[Any, Any]:
    """Smoothing, pooling, upsampling and normalising of one map, in loops."""
    height, width = grid.shape
    weights = np.exp(-(np.arange(-3, 4) ** 2) / 2.0)
    weights = np.outer(weights, weights) / np.outer(weights, weights).sum()
    soft = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        for dy, dx in np.ndindex(7, 7):
            row, column = min(max(y + dy - 3, 0), height - 1), min(max(x + dx - 3, 0), width - 1)
            inside = (row, column) == (y + dy - 3, x + dx - 3)
            soft[y, x] += weights[dy, dx] * grid[row, column] * (inside or edges == "same")
    large = np.zeros((height * factor, width * factor))
    for y, x in np.ndindex(*large.shape):
        row, column = y // factor, x // factor
        around = soft[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        large[y, x] = around.max() if widen else soft[row, column]
    return large / large.max()


@pytest.mark.parametrize(("shape", "factor"), [((9, 6), 2), ((2, 3), 2), ((1, 1), 1), ((5, 11), 1)])
@pytest.mark.parametrize("widen", [True, False])
@pytest.mark.parametrize("edges", ["same", "zeros"])
def test_the_mask_is_the_formula_in_loops(shape: tuple[int, int], factor: int, widen: bool, edges: Any) -> None:
    grids = np.random.default_rng(3).random((2, *shape))
    expected = np.stack([by_hand(grid, factor, widen=widen, edges=edges) for grid in grids])
    size = (shape[0] * factor, shape[1] * factor)
    maps = torch.from_numpy(grids).float()
    torch.testing.assert_close(
        normalised(smoothed_map(maps, edges), size, widen), torch.from_numpy(expected).float(), atol=1e-6, rtol=1e-5
    )
    for theta in (0.3, 0.8, 0.97):
        mask = words_mask(maps, size, theta, widen=widen, edges=edges)
        assert torch.equal(mask, torch.from_numpy((expected > theta).any(axis=0)))


def test_the_kernel() -> None:
    kernel = gaussian(1.0, 3)
    assert kernel.shape == (7,) and kernel.sum().item() == pytest.approx(1)
    assert (kernel[3] / kernel[2]).item() == pytest.approx(np.exp(0.5), rel=1e-6)
    assert torch.equal(kernel, kernel.flip(0))
    torch.testing.assert_close(smoothed_map(torch.full((1, 4, 5), 0.25)), torch.full((1, 4, 5), 0.25))


def test_a_map_of_nothing_masks_nothing() -> None:
    assert not any(words_mask(torch.zeros(1, 4, 4), (8, 8), theta).any() for theta in (0.0, 0.3))


# Planted attention, through the method.


class Running:
    """A blend and its mask in a run, fed by hand."""

    def __init__(self, masks: RunningMasks, blend: Any):
        (self.listener,) = masks.listeners or (None,)
        self.running, self.blend, self.needs = masks, blend, blend.needs

    def after(self, joint: JointAttention, output: torch.Tensor) -> torch.Tensor:
        assert self.listener is not None
        found = self.listener.after(joint, output)
        self.listener.end_forward()
        return found

    def end_step(self, step: int, latents: torch.Tensor, chosen: list[Row]) -> torch.Tensor:
        self.running.record(step)
        return self.blend.end_step(step, latents, chosen)

    @property
    def masks(self) -> torch.Tensor:
        return self.running.recorded()["masks"]


def run_of(method: LocalBlend, *prompts: str, toy: ToyMMDiT | None = None) -> tuple[Running, list[Row]]:
    toy = toy or ToyMMDiT()
    chosen = rows(toy, *prompts, guidance=1.0)
    given = replace(inputs(toy), source=torch.zeros(1, 4, 16, 20))
    begun = Engine(toy)._begun(INVERSIONS["euler"], [method], chosen, given, "sample")
    return Running(begun.masks, begun.methods[0]), chosen


def planted(
    order: str, chosen: list[Row], spots: list[tuple[int, slice, slice]], step: int = 0, **values: Any
) -> JointAttention:
    """Attention of an 8×10 grid in which row ``r`` looks at text token ``r + 1`` in some rectangle and nowhere at it else."""
    where = layout(order, text=8, grid=(8, 10))
    query = torch.zeros(len(chosen), 2, where.length, 16)
    key = torch.zeros_like(query)
    key[:, :, where.text] = torch.eye(8, 16) * 40
    for row, rectangles, columns in spots:
        grid = torch.zeros(8, 10, 16)
        grid[:, :, 0] = 1.0  # to the first word, which no test asks for
        grid[rectangles, columns] = torch.nn.functional.one_hot(torch.tensor(row + 1), 16).float()
        query[row, :, where.image] = grid.flatten(0, 1)
    return event(where, chosen, step=step, query=query, key=key, channels=16, heads=2, **values)


def region(rectangles: slice, columns: slice, theta: float = 0.3) -> torch.Tensor:
    grid = np.full((8, 10), 1e-4)
    grid[rectangles, columns] = 1.0
    return torch.from_numpy(by_hand(grid, 2) > theta)


@pytest.mark.parametrize("order", ["ti", "it", "rit"])
def test_the_mask_of_planted_attention_is_the_expected_region(order: str) -> None:
    """Word 1 in the source's row, word 2 in the first edit's, word 3 in the second's; masks are unions, each edit its own."""
    run, chosen = run_of(LocalBlend(blend=1.0), "a one b c", "a b two c", "a b c three")
    spots = [
        (0, slice(0, 2), slice(0, 2)),
        (1, slice(5, 7), slice(7, 9)),
        (2, slice(0, 3), slice(8, 10)),
    ]
    joint = planted(order, chosen, spots)
    run.after(joint, joint.attend())
    latents = torch.arange(3.0)[:, None, None, None].expand(3, 4, 16, 20).clone()
    blended = run.end_step(0, latents, chosen)
    masks = run.masks
    assert masks.shape == (2, STEPS, 16, 20) and masks[:, 1:].isnan().all()
    both = region(*spots[0][1:])
    for edit, spot in enumerate(spots[1:]):
        expected = both | region(*spot[1:])
        assert 0.05 < expected.float().mean() < 0.6
        assert torch.equal(masks[edit, 0].bool(), expected)
        assert torch.equal(blended[1 + edit], torch.where(expected, 1.0 + edit, 0.0).expand(4, -1, -1))
    assert torch.equal(blended[0], latents[0])


@pytest.mark.parametrize(("packed", "chosen", "widens"), [(False, None, True), (True, None, False), (True, True, True)])
def test_maps_are_widened_where_latents_are_a_grid_unless_it_is_chosen(
    packed: bool, chosen: bool | None, widens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release pools maps of SD3's grid and not of Flux's tokens."""
    monkeypatch.setattr(ToyMMDiT, "packs_latents", packed)
    run, items = run_of(LocalBlend(mask=WordsMask(source_words=(), widen=chosen), blend=1.0), "a b one", "a b two")
    spot = (slice(2, 4), slice(4, 6))
    joint = planted("ti", items, [(1, *spot)])
    run.after(joint, joint.attend())
    run.end_step(0, torch.zeros(2, 4, 16, 20), items)
    grid = np.full((8, 10), 1e-4)
    grid[spot] = 1.0
    expected = torch.from_numpy(by_hand(grid, 2, widen=widens) > 0.3)
    assert torch.equal(run.masks[0, 0].bool(), expected)


def test_flux_takes_packed_latents_and_sd3_does_not() -> None:
    assert FluxParameters().load("tiny", tiny_flux()).packs_latents
    assert not SD3Parameters().load("tiny", tiny_sd3()).packs_latents


def test_each_picture_keeps_its_own_source() -> None:
    toy = ToyMMDiT()
    first, second = rows(toy, "a cat", "a dog"), rows(toy, "red", "blue")
    both = [*first, *(replace(row, image=1) for row in second)]
    (run,) = Engine(toy).begin(INVERSIONS["euler"], [LocalBlend(mask=HALF)], both, inputs(toy))
    latents = torch.arange(4.0)[:, None, None, None].expand(4, 1, 6, 8)
    blended = run.end_step(0, latents, both)
    assert blended[..., :4].unique(dim=0).flatten(1)[:, 0].tolist() == [0, 1, 2, 3]
    assert [row.unique().item() for row in blended[..., 4:]] == [0, 0, 2, 2]


def test_steps_count_once_and_all_so_far_count() -> None:
    """Two evaluations of one spot in step 0, one of another in step 1: at step 1 both spots weigh the same."""
    run, chosen = run_of(LocalBlend(mask=WordsMask(source_words=()), blend=1.0), "x one x", "x x two")
    here, there = (1, slice(0, 2), slice(0, 2)), (1, slice(6, 8), slice(8, 10))
    for step, spot in ((0, here), (0, here), (1, there)):
        joint = planted("ti", chosen, [spot], step=step)
        run.after(joint, joint.attend())
        if step == 0:
            run.end_step(0, torch.zeros(2, 4, 16, 20), chosen)
    run.end_step(1, torch.zeros(2, 4, 16, 20), chosen)
    masks = run.masks[0].nan_to_num(0).bool()
    assert torch.equal(masks[0], region(*here[1:]))
    grid = np.full((8, 10), 1e-4)
    for _, rectangles, columns in (here, there):
        grid[rectangles, columns] = 0.5
    assert torch.equal(masks[1], torch.from_numpy(by_hand(grid, 2) > 0.3))


def test_attention_is_looked_at_before_it_is_replaced() -> None:
    """Whatever stands before or after it in the list, and whatever that replaces."""
    masks = []
    spot = (1, slice(5, 7), slice(7, 9))
    for change in (None, "query", "key", "logits"):
        run, chosen = run_of(LocalBlend(mask=WordsMask(source_words=()), blend=1.0), "x one x", "x x two")
        joint = planted("it", chosen, [spot])
        if change == "logits":
            joint.overrides = joint.overrides.taking(1, 0, joint.layout.image, joint.layout.text)
        elif change:
            setattr(joint, change, getattr(joint, change).roll(1, 2))
        assert run.listener.wants_log_sum_exp(joint) == (change is None)
        run.after(joint, joint.attend(log_sum_exp=True))
        run.end_step(0, torch.zeros(2, 4, 16, 20), chosen)
        masks.append(run.masks[0, 0].bool())
    assert all(torch.equal(mask, region(*spot[1:])) for mask in masks)


@pytest.mark.parametrize("replace", ["qk", "T2I", "kivi"])
def test_the_order_of_methods_does_not_matter(replace: str) -> None:
    methods = [Injection(replace=replace, tau=0.5), LocalBlend(mask=WordsMask(theta=0.9), blend=1.0)]
    one, other = sample(ToyMMDiT(), *methods), sample(ToyMMDiT(), *methods[::-1])
    assert torch.equal(one.latents, other.latents)
    assert torch.equal(one.masks["masks"], other.masks["masks"])
    assert 0 < one.masks["masks"].mean() < 1


def test_only_the_chosen_columns_of_conditional_halves_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[tuple[str, tuple[int, ...]]] = set()
    plain = JointAttention.text_to_image

    def watched(self: JointAttention, row: int, positions: tuple[int, ...]) -> Any:
        asked.add((self.rows[row].cfg_branch, tuple(positions)))
        return plain(self, row, positions)

    monkeypatch.setattr(JointAttention, "text_to_image", watched)
    sample(ToyMMDiT(), LocalBlend())
    assert asked == {("conditional", (1, 2))}


# Where edit and source differ.


@pytest.mark.parametrize("order", ["ti", "it", "rit"])
def test_the_mask_of_a_planted_difference_is_the_tokens_that_differ(order: str) -> None:
    """By hand: departures 1, .5 and .25 of the largest; the mask is whole tokens above θ; branches without guidance alone count."""
    run, chosen = run_of(LocalBlend(mask=AttentionMask(theta=0.4), blend=1.0), "a b", "a c", "a d")
    where = layout(order, text=8, grid=(8, 10))
    joint = event(where, chosen, channels=16, heads=2)
    output = torch.zeros_like(joint.query)
    first, second = (output[place][:, where.image].view(2, 8, 10, 16) for place in (1, 2))
    first[0, 2, 3, :4], first[1, 5, 5, 0], first[:, 7, 9, 0] = 2.0, -2.0, 0.5 * 2**0.5
    second[:, :, 0, 1] = 1.0
    output[:, :, where.text] = torch.randn(2 + 1, 2, 8, 16)  # no concern of the mask
    assert torch.equal(run.after(joint, output), output)
    latents = torch.arange(3.0)[:, None, None, None].expand(3, 4, 16, 20).clone()
    blended = run.end_step(0, latents, chosen)
    expected = torch.zeros(2, 16, 20, dtype=torch.bool)
    expected[0, 4:6, 6:8] = expected[0, 10:12, 10:12] = True
    expected[1, :, :2] = True
    assert torch.equal(run.masks[:, 0].bool(), expected)
    for edit in range(2):
        assert torch.equal(blended[1 + edit], torch.where(expected[edit], 1.0 + edit, 0.0).expand(4, -1, -1))


@pytest.mark.parametrize("name", list(INVERSIONS))
def test_equal_prompts_differ_nowhere_and_the_edit_is_the_source(name: str) -> None:
    blend = LocalBlend(mask=AttentionMask(theta=0.9), blend=1.0)
    prompts = ("a red cat", "a red cat")
    equal = sample(ToyMMDiT(), blend, inversion=INVERSIONS[name], prompts=prompts)
    if name != "flowedit":  # whose source and edit have guidance of their own
        assert not equal.masks["masks"].nan_to_num(0).any()
        assert torch.equal(equal.latents[1], equal.latents[0])
    other = sample(ToyMMDiT(), blend, inversion=INVERSIONS[name])
    assert 0 < other.masks["masks"].nanmean() < 1, "another prompt differs somewhere, and not everywhere alike"


def test_the_blocks_that_count_can_be_chosen() -> None:
    """Of all blocks by default: the first alone gives another mask."""
    masks = [
        sample(ToyMMDiT(), LocalBlend(mask=AttentionMask(theta=0.7, **given), blend=1.0)).masks["masks"]
        for given in ({}, {"blocks": tuple(range(len(ToyMMDiT().sites)))}, {"blocks": (0,)})
    ]
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])


def test_parameters_of_masks_by_their_old_names() -> None:
    """Of before masks were parts: they are read, with a warning, for one release."""
    whole = {
        "theta": None,
        "mask_from": "words",
        "source_words": None,
        "target_words": None,
        "blocks": None,
        "mask": None,
    }
    for old, mask in (
        ({"theta": 0.9}, WordsMask(theta=0.9)),
        ({"mask_from": "difference"}, AttentionMask()),
        ({"mask_from": "difference", "theta": 0.5, "blocks": (0,)}, AttentionMask(theta=0.5, blocks=(0,))),
        ({**whole, "target_words": ["dog"], "top": 5, "edges": "zeros"}, WordsMask(target_words="dog", edges="zeros")),
    ):
        with pytest.warns(DeprecationWarning, match="a part of `mask` now"):
            assert LocalBlend(**old, blend=1.0) == LocalBlend(mask=mask, blend=1.0)
    assert LocalBlend(**{**whole, "mask": HALF}).mask == PictureMask(picture=HALF)
    for old, message in (
        ({"mask_from": "difference", "source_words": "cat"}, "'difference' leaves no use for `source_words`"),
        ({"mask_from": "difference", "widen": False}, "'difference' leaves no use for `widen`"),
        ({"mask": HALF, "target_words": "dog"}, "`mask` leaves no use for `target_words`"),
        ({"mask": HALF, "mask_from": "difference"}, "`mask` leaves no use for `mask_from`"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            methods_of("local-blend", old)


@pytest.mark.parametrize("inversion", [RFInversion(hold_source=True), RFInversionSDE(hold_source=True)])
def test_outside_the_mask_a_held_source_is_the_picture(inversion: Any) -> None:
    toy = ToyMMDiT()
    held = sample(toy, LocalBlend(mask=AttentionMask(theta=0.7), blend=1.0), inversion=inversion)
    outside = held.masks["masks"][0, -1] == 0
    assert 0 < outside.float().mean() < 1
    picture = inputs(toy).source[0]
    torch.testing.assert_close(held.latents[1][:, outside], picture[:, outside], atol=1e-5, rtol=0)
    assert (held.latents[1][:, ~outside] - picture[:, ~outside]).abs().max() > 0.01


# Whole runs.


@pytest.mark.parametrize("name", list(INVERSIONS))
def test_a_white_mask_is_the_plain_edit_and_a_black_one_the_source(name: str) -> None:
    toy, inversion = ToyMMDiT(), INVERSIONS[name]
    plain = sample(toy, inversion=inversion).latents
    white = sample(toy, LocalBlend(mask=WHITE, blend=1.0), inversion=inversion)
    assert torch.equal(white.latents, plain)
    black = sample(toy, LocalBlend(mask=BLACK, blend=1.0), inversion=inversion)
    assert torch.equal(black.latents[1], black.latents[0]) and not torch.equal(plain[1], plain[0])
    if name == "flowedit":  # in the steps along the difference of velocities the source's row is the picture itself
        inversion = type(inversion)()
        black = sample(toy, LocalBlend(mask=BLACK, blend=1.0), inversion=inversion)
        assert torch.equal(black.latents[1], inputs(toy).source[0])
    else:
        assert name == "fireflow" or torch.equal(black.latents[0], plain[0])
    steps = inversion.sampling_steps(STEPS)
    assert not black.masks["masks"][0, steps.start :].any() and black.masks["masks"][0, : steps.start].isnan().all()


@pytest.mark.parametrize("name", list(INVERSIONS))
def test_half_a_mask_keeps_the_other_half_the_source(name: str) -> None:
    result = sample(ToyMMDiT(), LocalBlend(mask=HALF, blend=1.0), inversion=INVERSIONS[name]).latents
    assert torch.equal(result[1, ..., 4:], result[0, ..., 4:]) and not torch.equal(
        result[1, ..., :4], result[0, ..., :4]
    )


@pytest.mark.parametrize("name", list(INVERSIONS))
def test_masks_of_words_on_every_inversion(name: str) -> None:
    """On the toy's random weights maps are nearly even, so θ is high."""
    toy, inversion = ToyMMDiT(), INVERSIONS[name]
    found = sample(
        toy,
        LocalBlend(mask=WordsMask(theta=0.9), blend=1.0),
        inversion=inversion,
        prompts=("a red cat", "a dog", "a big red fox"),
    )
    masks = found.masks["masks"][:, -1].bool()
    assert 0 < masks.float().mean() < 1 and not torch.equal(masks[0], masks[1])
    for edit in (0, 1):
        outside = ~masks[edit].expand(found.latents.shape[1:])
        assert torch.equal(found.latents[1 + edit][outside], found.latents[0][outside])
        assert not torch.equal(found.latents[1 + edit], found.latents[0])


def test_fireflow_forgets_its_velocity_after_a_blend() -> None:
    toy, inversion = ToyMMDiT(), INVERSIONS["fireflow"]
    calls = {name: sample(toy, *methods, inversion=inversion).cost.calls for name, methods in {
        "plain": [],
        "white": [LocalBlend(mask=WHITE)],
        "half": [LocalBlend(mask=HALF)],
        "words": [LocalBlend(mask=WordsMask(theta=0.0))],
    }.items()}  # fmt: skip
    assert calls == {"plain": STEPS + 1, "white": STEPS + 1, "half": STEPS + 4, "words": STEPS + 4}


def test_the_window() -> None:
    run, _ = run_of(LocalBlend(), "a cat", "a dog")
    assert [step for step in range(STEPS) if run.needs(step)] == [0, 1, 2]
    assert run.needs(0) == Needs(latents=True, pair="conditional")
    assert run.listener is not None
    listens = Needs(attention=frozenset({1, 2}), pair="conditional")
    assert [run.listener.needs(step) for step in range(4)] == [listens] * 3 + [Needs()]
    run, _ = run_of(LocalBlend(mask=HALF, blend=1), "a cat", "a dog")
    assert [run.needs(step) for step in range(2)] == [Needs(latents=True, pair="conditional"), Needs()]


def test_nothing_without_steps() -> None:
    assert torch.equal(sample(ToyMMDiT(), LocalBlend(blend=0)).latents, sample(ToyMMDiT()).latents)


def test_while_the_model_is_not_asked_there_is_no_mask() -> None:
    inversion = RFInversion(eta=1.0, stop=2)
    found = sample(ToyMMDiT(), LocalBlend(mask=WordsMask(theta=0.9)), inversion=inversion).masks["masks"][0]
    assert [bool(mask.isnan().any()) for mask in found] == [True, True, False, True, True, True]


# Words and blocks.


def test_the_words_that_differ_are_chosen() -> None:
    toy = ToyMMDiT()
    source, target = toy.encode_prompts(["a cat and a dog", "a cat on a red dog"])
    assert target.new_words(source) == ("on", "red") and target.new_positions(source) == (2, 4)
    assert source.new_positions(target) == (2,)
    start, longer = toy.encode_prompts(["a dog", "a cat and a dog"])
    assert longer.new_words(start) == ("cat", "and", "a") or longer.new_words(start) == ("a", "cat", "and")
    assert len(longer.new_positions(start)) == 3, "and not the other `a`, which `find` would give"
    run, _ = run_of(
        LocalBlend(mask=WordsMask(source_words="cat", target_words=["dog", "red"])),
        "a cat and a dog",
        "a cat on a red dog",
    )
    assert run.listener is not None and list(run.listener._run._words.values()) == [((1,), (4, 5))]
    run, _ = run_of(LocalBlend(mask=WordsMask(source_words="dog")), "a cat and a dog", "a cat on a red dog")
    assert run.listener is not None and list(run.listener._run._words.values()) == [((4,), (2, 4))]


def test_blocks_of_models_users_and_files(tmp_path: Path) -> None:
    file = tmp_path / "ranking.json"
    file.write_text(json.dumps({"blocks": [2, 0, 1], "scores": [0.9, 0.5, 0.1]}))
    for values, expected in (
        ({}, {1, 2}),
        ({"top": 1}, {2}),
        ({"blocks": (0, 1)}, {0, 1}),
        ({"ranking": str(file), "top": 2}, {0, 2}),
        ({"ranking": file}, {0, 1, 2}),
    ):
        run, _ = run_of(LocalBlend(mask=WordsMask(**values)), "a cat", "a dog")
        assert run.listener is not None and run.listener.needs(0).attention == frozenset(expected)
    held = LocalBlend(mask=WordsMask(ranking=str(file))).model_dump(mode="json")["mask"]
    assert held == {"name": "words", "ranking": [2, 0, 1]}


def test_published_rankings_come_with_the_models() -> None:
    for backbone, model, blocks in (
        ("flux", "dev", (18, 17, 12, 14, 11)),
        ("flux", "schnell", (18, 17, 12, 14, 11)),
        ("sd3", "medium", (7, 8, 5, 4, 9)),
        ("sd3.5", "medium", (7, 9, 8, 5, 10)),
        ("sd3.5", "large", (18, 21, 20, 24, 16)),
        ("sd3.5", "turbo", (18, 21, 20, 24, 16)),
    ):
        defaults = model_of(backbone, model)[1]
        assert defaults is not None and defaults.word_blocks == blocks
    defaults = model_of("sd3.5", "shapes")[1]
    assert defaults is not None and sorted(defaults.word_blocks) == [0, 1, 2, 3, 4, 5]
    for values in ({"word_blocks": (1, 1)}, {"word_blocks": (-1,)}, {"steps": 0, "area": 0, "word_blocks": (1,)}):
        with pytest.raises(InvalidInputError, match="word_blocks"):
            Model(**{"name": "m", "backbone": "b", "source": "s/m", "steps": 4, "area": 16, **values})


# The result.


def test_masks_are_part_of_the_result(tmp_path: Path) -> None:
    methods = [LocalBlend(mask=WordsMask(theta=0.9)), Injection()]
    results = [
        Editor(ToyMMDiT(), "euler", methods, max_rows=most, progress=False).edit(
            PICTURE, ["a red dog", "a fox"], "a red cat", steps=STEPS, maps=False, size=(32, 24)
        )
        for most in (None, 2)
    ]
    together, groups = results
    assert torch.equal(together.recorded("masks").nan_to_num(-1), groups.recorded("masks").nan_to_num(-1))
    for number in (0, 1):
        mask = together.mask(number)
        assert mask.size == PICTURE.size
        last = together.recorded("masks")[number, 2]
        assert np.array_equal(np.asarray(mask)[2::4, 2::4], (last * 255).byte().numpy()) and 0 < last.mean() < 1
    together.save(tmp_path)
    with Image.open(tmp_path / "mask-1.png") as saved:
        assert np.array_equal(np.asarray(saved), np.asarray(together.mask(1)))
    plain = Editor(ToyMMDiT(), "euler", None, progress=False).edit(PICTURE, "a dog", "a cat", steps=2, maps=False)
    assert edit_sheet(together, 0).width > edit_sheet(plain).width
    plain.save(tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("mask*"))
    with pytest.raises(InvalidInputError, match="has no `masks`"):
        plain.mask()
    with pytest.raises(InvalidInputError, match="`prompt` must be 0 to 1, got 2"):
        together.mask(2)


def test_a_record_holds_the_mask_itself(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(HALF.astype(np.uint8) * 255).save(path)
    methods = [
        LocalBlend(mask=value) for value in (str(path), path, path.read_bytes(), HALF, HALF * 0.9, Image.open(path))
    ]
    assert all(method == methods[0] for method in methods)
    path.unlink()
    again = LocalBlend(**json.loads(methods[0].model_dump_json()))
    assert again == methods[0] and "base64" not in repr(again)
    results = [
        Editor(ToyMMDiT(), "euler", one, progress=False).edit(PICTURE, "a dog", "a cat", steps=2, size=(32, 24))
        for one in (methods[0], again)
    ]
    assert np.array_equal(np.asarray(results[0].image), np.asarray(results[1].image))
    assert np.array_equal(np.asarray(results[0].mask()) > 0, HALF)


def test_a_mask_of_pixels_on_latents_is_generous() -> None:
    """A cell of the latents is in the mask if any of its pixels is."""
    one = np.zeros((24, 32), bool)
    one[5, 9] = True
    editor = Editor(ToyMMDiT(), "euler", LocalBlend(mask=one), progress=False)
    result = editor.edit(PICTURE, "a dog", "a cat", steps=2, size=(32, 24))
    cells = result.recorded("masks")[0, 0]
    assert cells.sum() == 1 and cells[1, 2] == 1
    assert np.array_equal(np.asarray(result.mask()) > 0, one), "the picture's mask is the user's own"


# Refusals.


class Deaf(ToyMMDiT):
    """Its model must not run."""

    def velocity(self, *arguments: Any, **others: Any) -> Any:
        raise AssertionError("the model ran")


class Unranked(Deaf):
    """Nobody ranked its blocks."""

    @property
    def defaults(self) -> Defaults:
        return Defaults(steps=8, guidance=3.0, area=32 * 32)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"target_words": "fox"},
            r"`mask.target_words` 'fox' is not in the prompt 'a red dog'. Its words: a, red, dog.",
        ),
        (
            {"source_words": ["cat", "dog"]},
            r"`mask.source_words` 'dog' is not in the prompt 'a red cat'. Its words: a, red, cat",
        ),
        ({"blocks": (0, 3)}, r"`mask.blocks` \[3\] do not exist: the model has joint blocks 0 to 2."),
        ({"ranking": (7, 1)}, r"`mask.ranking` \[7\] do not exist"),
        (
            {"mask": PictureMask(picture=HALF[:, :30])},
            "`mask` must have the size of the picture, 32x24 pixels, got 30x24. Resize the mask.",
        ),
        ({"source_words": (), "target_words": ()}, "`mask` 'words' needs words that differ"),
    ],
)
def test_what_cannot_be_is_refused_before_the_model_runs(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        mask = values.get("mask") or {"name": "words", **values}
        Editor(Deaf(), "euler", LocalBlend(mask=mask), progress=False).edit(PICTURE, "a red dog", "a red cat")


def test_other_refusals(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="'a dog' and 'a dog' do not differ"):
        Editor(Deaf(), "euler", LocalBlend(), progress=False).edit(PICTURE, "a dog", "a dog")
    with pytest.raises(InvalidInputError, match="this model has no ranking of blocks"):
        Editor(Unranked(), "euler", LocalBlend(), progress=False).edit(PICTURE, "a dog", "a cat")
    with pytest.raises(IncompatibleError, match="this run has no source"):
        Editor(Deaf(), "euler", None, progress=False).generate("a dog", method=LocalBlend())
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "text.json").write_text("blocks")
    for values, message in (
        ({"blocks": (1,), "ranking": (1,)}, "both choose blocks"),
        ({"ranking": str(tmp_path / "none.json")}, "cannot read `ranking`"),
        ({"ranking": str(tmp_path / "text.json")}, "cannot read the ranking"),
        ({"ranking": str(tmp_path / "list.json")}, "must be a JSON object with a list `blocks`"),
        ({"theta": 1.0}, "theta"),
        ({"top": 0}, "top"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            methods_of("local-blend", {"mask": {"name": "words", **values}})
    for mask, message in (
        (str(tmp_path / "none.png"), "cannot read `mask` .*Check the path"),
        (np.full((24, 32), np.nan), "not finite"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            methods_of("local-blend", {"mask": mask})
    with pytest.raises(ValidationError):
        WordsMask(blocks=())
    for text in ("data:image/png;base64,AAAA", "data:image/png;base64,?"):
        with pytest.raises(ValidationError, match=r"damaged|not a picture"):
            LocalBlend(mask=text)


def test_a_word_without_a_token_is_refused() -> None:
    toy = Deaf()
    source, target, nothing = toy.encode_prompts(["a cat", "a dog", ""])
    cut = Prompt(target.text, target.tensors, target.tokens[:1])
    chosen = [Row(source, nothing, 1.0), Row(cut, nothing, 1.0, edit=0)]
    with pytest.raises(InvalidInputError, match="'dog' has no token that the model attends to"):
        Engine(toy).begin(INVERSIONS["euler"], [LocalBlend(mask=WordsMask(target_words="dog"))], chosen, inputs(toy))
