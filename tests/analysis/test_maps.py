"""Maps of words equal the explicit softmax, whatever is kept or averaged."""

import math

import pytest
import torch
from headrouter_analysis.methods.depth import TextShare
from headrouter_analysis.methods.maps import AttentionMaps
from headrouter_analysis.runs import Runs
from PIL import Image

from headrouter.attention import kernels
from headrouter.attention.joint_attention import JointAttention, Site, TokenLayout
from headrouter.attention.rows import Row, batch_rows
from headrouter.attention.step_info import StepInfo
from headrouter.editing.editor import Editor
from headrouter.errors import InvalidInputError
from headrouter.prompts.prompt import Prompt
from headrouter.testing.toy import ToyMMDiT

from .world import Touched, overheard, softmax

PROMPTS = ["a red dog, a cat", "the blue red house"]
WORDS = (("red", "a"), ("house", "blue red"))
POSITIONS = (((1,), (0, 3)), ((3,), (1, 2)))
"""Where the words are: the second word of the first prompt is there twice, that of the second prompt is two words."""


def expected(seen, direction: str) -> torch.Tensor:
    """[edit, word, step, block, head, h, w] from the whole softmax."""
    maps = torch.full((2, 2, 3, 3, 4, 6, 4), math.nan)
    for step, block, rows, layout, whole in seen:
        text, image = layout.text, layout.image
        for place, item in enumerate(rows):
            if item.cfg_branch == "conditional":
                part = (
                    whole[place, :, image, text] if direction == "T2I" else whole[place, :, text, image].transpose(1, 2)
                )
                for word, positions in enumerate(POSITIONS[item.row.image]):
                    maps[item.row.image, word, step, block] = part[..., list(positions)].mean(-1).view(4, 6, 4)
    return maps


@pytest.mark.parametrize("text_first", [True, False])
@pytest.mark.parametrize("direction", ["T2I", "I2T"])
def test_maps_are_blocks_of_the_softmax_averaged_over_what_is_not_kept(direction: str, text_first: bool) -> None:
    keeps = [(), ("block",), ("step", "head"), ("step", "block", "head")]
    methods = [AttentionMaps(direction=direction, words=WORDS, keep=keep) for keep in keeps]
    sampled, seen = overheard(text_first, PROMPTS, methods)
    whole = expected(seen, direction)
    assert not whole.isnan().any() and whole.std() > 1e-3
    axes = {"step": 2, "block": 3, "head": 4}
    for keep, diagnostics in zip(keeps, sampled.diagnostics, strict=True):
        gone = [axis for name, axis in axes.items() if name not in keep]
        reference = whole.mean(dim=gone) if gone else whole
        assert torch.allclose(diagnostics["attention_maps"], reference, atol=1e-6), keep


def test_chosen_blocks_heads_and_steps_are_the_ones_that_are_averaged() -> None:
    method = AttentionMaps(words=WORDS, keep=("head",), blocks=(2, 0), heads=(3, 1), start=1, stop=3)
    kept = AttentionMaps(words=WORDS, keep=("block",), blocks=(2, 0, 2))
    sampled, seen = overheard(True, PROMPTS, [method, kept])
    reference = expected(seen, "T2I")[:, :, 1:3][:, :, :, [0, 2]][:, :, :, :, [3, 1]].mean(dim=(2, 3))
    assert torch.allclose(sampled.diagnostics[0]["attention_maps"], reference, atol=1e-6)
    ascending = expected(seen, "T2I")[:, :, :, [0, 2]].mean(dim=(2, 4))
    assert torch.allclose(sampled.diagnostics[1]["attention_maps"], ascending, atol=1e-6)


def test_a_step_of_two_evaluations_is_their_mean() -> None:
    toy, seen = Touched(), {}
    toy.touch = lambda event: seen.setdefault((event.step_info.step, event.step_info.stage), []).append(
        softmax(event)[-1][:, event.layout.image][..., event.layout.text.start + 1].mean(dim=0)
    )
    methods = [AttentionMaps(words=(("dog",),), keep=("step",)), AttentionMaps(words=(("dog",),), keep=())]
    editor = Editor(toy, "rf-solver", methods, progress=False)
    result = editor.edit(Image.new("RGB", (16, 16), "teal"), "a dog", "a cat", steps=2, size=(16, 16), maps=False)
    assert len(seen) == 4, "two steps of two stages"
    stages = {key: torch.stack(blocks).mean(dim=0) for key, blocks in seen.items()}
    steps = torch.stack([(stages[step, 0] + stages[step, 1]) / 2 for step in (0, 1)]).view(2, 4, 4)
    (_, by_step), (_, mean) = result.diagnostics
    assert torch.allclose(by_step["attention_maps"][0, 0], steps, atol=1e-6)
    assert torch.allclose(mean["attention_maps"][0, 0], steps.mean(dim=0), atol=1e-6)


def test_word_maps_of_every_edit_are_the_same_mean() -> None:
    """Also where the first step asks the model twice and the others once."""
    editor = Editor(ToyMMDiT(), "fireflow", AttentionMaps(words=(("dog",),), keep=()), progress=False)
    result = editor.edit(Image.new("RGB", (16, 16), "teal"), "a dog", "a cat", steps=3, size=(16, 16))
    assert torch.allclose(result.text_map("dog"), result.recorded("attention_maps")[0, 0], atol=1e-7)


def test_every_word_is_recorded_if_none_is_named() -> None:
    sampled, seen = overheard(False, PROMPTS, [AttentionMaps(keep=())])
    maps = sampled.diagnostics[0]["attention_maps"]
    assert maps.shape == (2, 4, 6, 4)
    assert torch.allclose(maps[0, 1], expected(seen, "T2I")[0, 0].mean(dim=(0, 1, 2)), atol=1e-6), "a, red, dog, cat"
    assert not maps[1].isnan().any()
    shorter, _ = overheard(False, ["a red dog", "dog"], [AttentionMaps(keep=())])
    assert shorter.diagnostics[0]["attention_maps"][1, 1:].isnan().all()


@pytest.mark.parametrize("text_first", [True, False])
def test_text_and_image_share_all_the_attention(text_first: bool) -> None:
    """Over all keys a query gives 1: what text tokens get and what image tokens get add up."""
    sampled, seen = overheard(text_first, PROMPTS, [TextShare()])
    share = sampled.diagnostics[0]["text_share"]
    assert share.shape == (2, 3, 3, 8)
    for step, block, rows, layout, whole in seen:
        for place, item in enumerate(rows):
            if item.cfg_branch == "conditional":
                image = whole[place][:, layout.image][:, :, layout.image].sum(-1).mean()
                assert float(share[item.row.image, step, block].sum() + image) == pytest.approx(1, abs=1e-5)
                text = whole[place][:, layout.image][:, :, layout.text].mean(dim=(0, 1))
                assert torch.allclose(share[item.row.image, step, block], text, atol=1e-6)


TEXT, IMAGE, REGISTERS = 5, 6, 2


def event(bias: torch.Tensor | None, text_first: bool) -> JointAttention:
    """Text, image and registers, in either order."""
    first, second = (TEXT, IMAGE) if text_first else (IMAGE, TEXT)
    parts = slice(REGISTERS, REGISTERS + first), slice(REGISTERS + first, REGISTERS + first + second)
    text, image = parts if text_first else parts[::-1]
    layout = TokenLayout(text, image, (2, 3), (("t5", TEXT),), registers=slice(0, REGISTERS))
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(2, 4, layout.length, 8, generator=generator) * 2 for _ in range(3))
    rows = batch_rows([Row(Prompt("", {}), Prompt("", {}), 1.0, edit=n) for n in range(2)])
    return JointAttention(
        Site(0, "b", "dual", 4), layout, rows, StepInfo("sample", 0, 1, 0, 1.0, 0), q, k, v, None, None, bias
    )


def biases() -> dict[str, torch.Tensor | None]:
    generator, length = torch.Generator().manual_seed(4), TEXT + IMAGE + REGISTERS
    return {
        "none": None,
        "keys": torch.rand(2, 1, 1, length, generator=generator) > 0.3,
        "heads": torch.randn(1, 4, length, length, generator=generator),
        "queries": torch.randn(2, 1, length, 1, generator=generator),
    }


@pytest.mark.parametrize("chunk", [kernels.CHUNK_ELEMENTS, 30], ids=["whole", "chunked"])
@pytest.mark.parametrize("bias", ["none", "keys", "heads", "queries"])
@pytest.mark.parametrize("text_first", [True, False])
def test_rows_of_text_queries_are_those_of_the_whole_softmax(
    text_first: bool, bias: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "CHUNK_ELEMENTS", chunk)
    mask = biases()[bias]
    joint, positions = event(mask, text_first), (4, 1)
    logits = joint.query @ joint.key.transpose(-1, -2) * joint.scale
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
    for row in range(2):
        parts = list(joint.image_to_text(row, positions))
        assert (len(parts) > 1) == (chunk == 30)
        block = torch.cat([part for _, part in parts])
        whole = logits[row].softmax(-1)[:, joint.layout.text][:, list(positions)][..., joint.layout.image]
        assert torch.allclose(block, whole, atol=1e-6)


def run(method: AttentionMaps, *prompts: str) -> torch.Tensor:
    """The maps that the method records."""
    runs = Runs(ToyMMDiT(), steps=2, size=(16, 16))
    sampled = runs.generate(prompts or ("a red dog",), range(len(prompts) or 1), [method])
    return sampled.diagnostics[0]["attention_maps"]


@pytest.mark.parametrize(
    ("values", "prompts", "words"),
    [
        ({"words": (("cat",),)}, (), r"'cat' is not in the prompt 'a red dog'. Its words: a, red, dog"),
        ({"words": (("red",), ("red",))}, (), "one for each of the 1 edits of the run"),
        ({"blocks": (3,)}, (), "joint layers 0 to 2"),
        ({"blocks": ()}, (), "joint layers 0 to 2"),
        ({"heads": (4,)}, (), "heads 0 to 3"),
        (
            {"keep": ("step", "block", "head"), "most_megabytes": 0.002},
            (),
            "more than `most_megabytes` 0.002. Keep fewer axes",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused(values, prompts, words) -> None:
    with pytest.raises(InvalidInputError, match=words):
        run(AttentionMaps(**values), *prompts)


def test_what_fits_the_stated_size_is_recorded() -> None:
    maps = run(AttentionMaps(keep=()))
    held = 4e-6 * maps.numel() * 2  # float32: what one step adds up, beside the one mean over the steps
    assert maps.shape[:2] == (1, 3) and not maps.isnan().any()
    assert torch.equal(run(AttentionMaps(keep=(), most_megabytes=1.01 * held)), maps)
    with pytest.raises(InvalidInputError, match="more than `most_megabytes`"):
        run(AttentionMaps(keep=(), most_megabytes=0.99 * held))


def test_a_word_that_has_no_token_is_refused() -> None:
    class Deaf(ToyMMDiT):
        def encode_prompts(self, texts):
            return [Prompt(prompt.text, prompt.tensors) for prompt in super().encode_prompts(texts)]

    with pytest.raises(InvalidInputError, match="`words` 'dog' has no token"):
        Runs(Deaf(), steps=1, size=(16, 16)).generate(["a dog"], [0], [AttentionMaps(words=(("dog",),))])
