"""Prompts of their own lengths: what an edit is, and where its words are, does not depend on the prompts beside it."""

from unittest.mock import create_autospec

import pytest
import torch
from headrouter_diffusers.testing import byte_tokenizer
from headrouter_diffusers.text_parts import Reading, TextPart
from headrouter_qwen_image import testing as qwen_image
from headrouter_z_image import testing as z_image
from PIL import Image

from headrouter import Editor
from headrouter.prompts.batch import stacked, text_mask
from headrouter.prompts.marks import without_marks
from headrouter.prompts.prompt import Prompt

PICTURE = Image.frombytes("RGB", (48, 32), bytes(range(256)) * 18)


@pytest.mark.parametrize("subject", [qwen_image.subjects()[0], z_image.subjects()[0]], ids=lambda subject: subject.name)
def test_an_edit_does_not_depend_on_a_longer_prompt_beside_it(subject):
    editor = Editor(subject.build(), "euler", ["headrouter", "maps"], progress=False)
    [one, other] = (
        editor.edit(PICTURE, prompts, source_prompt="a dog", steps=2, size=(48, 32))
        for prompts in (["a red cat"], ["a red cat", "a photo of the dog that says hello"])
    )
    torch.testing.assert_close(one.text_map("cat"), other.text_map("cat"), rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(one.head_weights[0], other.head_weights[0], rtol=1e-3, atol=1e-4)


def test_masks_of_any_rank_are_filled_up():
    axes = {"e": (1,), "m": (1, 2), "p": ()}
    one, two = (
        Prompt(
            "", {"e": torch.ones(1, n, 2), "m": torch.ones(1, n, n, dtype=torch.bool), "p": torch.ones(1, 5)}, (), axes
        )
        for n in (1, 3)
    )
    assert (one.length, two.length) == (1, 3)
    assert stacked([one, two], "m").flatten(1).sum(1).tolist() == [1, 9]
    assert stacked([one, two], "e").shape == (2, 3, 2) and stacked([one, two], "p").shape == (2, 5)
    assert text_mask([one, two]).tolist() == [[True, False, False], [True, True, True]]
    with pytest.raises(AssertionError, match="differ in length"):
        Prompt("", {"e": torch.ones(1, 2, 2), "m": torch.ones(1, 3)}, (), {"e": (1,), "m": (1,)})


@pytest.mark.parametrize(
    ("options", "positions"),
    [
        ({}, [0, 2]),
        ({"template": "<|im_start|>say {}!<|im_end|>"}, [5, 7]),
        ({"template": "<|im_start|>say {}!<|im_end|>", "dropped": 5}, [0, 2]),
        ({"template": "<|im_start|>say {}!<|im_end|>", "padded_left": True}, [15, 17]),
        ({"padded_left": True}, [17, 19]),
        ({"template": "a cat? {}", "start": 7}, [12, 14]),
    ],
)
def test_a_template_and_left_padding_move_words(options, positions):
    part = TextPart("qwen", byte_tokenizer(), 20, options.pop("start", 0), **options)
    tokens = Reading(part, without_marks("a [cat]")).tokens()
    assert [token.position for token in tokens] == positions
    assert [(token.start, token.stop) for token in tokens] == [(0, 1), (3, 6)]


def test_what_a_template_leaves_of_the_length_is_told():
    part = TextPart("qwen", byte_tokenizer(), 9, 0, template="<|im_start|>say {}!<|im_end|>", dropped=5)
    fits = Reading(part, without_marks("a red"))
    assert fits.cut() == (7, "") and [token.position for token in fits.tokens()] == [0, 2, 3, 4]
    assert Reading(part, without_marks("a red dog")).cut() == (11, "og")


@pytest.mark.parametrize(("length", "rest", "words", "times"), [(20, "", 7, 1), (5, "d dog", 4, 2)])
def test_a_prompt_is_tokenized_once_and_again_where_it_is_cut(length, rest, words, times, monkeypatch):
    tokenizer = byte_tokenizer()
    tokenize = type(tokenizer).__call__
    counted = create_autospec(tokenize, side_effect=tokenize)
    monkeypatch.setattr(type(tokenizer), "__call__", counted)
    reading = Reading(TextPart("qwen", tokenizer, length, 0), without_marks("a red dog"))
    assert (reading.cut()[1], reading.unknown(), len(reading.tokens())) == (rest, [], words)
    assert counted.call_count == times
