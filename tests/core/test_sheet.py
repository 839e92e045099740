"""The sheet of an edit: its panels are the edit's own pictures."""

import numpy as np
import pytest
from PIL import Image

from headrouter.editing.editor import Editor
from headrouter.editing.result import Result
from headrouter.editing.sheet import edit_sheet, heads_picture, word_picture, word_shares
from headrouter.errors import InvalidInputError
from headrouter.prompts.prompt import Prompt
from headrouter.testing.toy import ToyMMDiT


def result(method: str, **asked: object) -> Result:
    picture = Image.new("RGB", (32, 32), (0, 128, 64))
    editor = Editor(ToyMMDiT(), "euler", method, progress=False)
    return editor.edit(picture, ["a blue dog", "a red dog"], "a red cat", steps=3, **asked)  # type: ignore[arg-type]


def shows(sheet: Image.Image, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(np.asarray(sheet).astype(int) - colour).max(axis=-1) <= 1).mean() > 0.005)


def test_a_sheet_shows_the_pictures_and_grows_with_the_diagnostics() -> None:
    routed, plain, bare = result("headrouter"), result("none"), result("none", maps=False)
    sheets = [edit_sheet(one) for one in (routed, plain, bare)]
    assert all(shows(sheet, (0, 128, 64)) for sheet in sheets), "the source is on it"
    routed_size, plain_size, bare_size = (sheet.size for sheet in sheets)
    assert routed_size[0] == plain_size[0] > bare_size[0], "a panel for each new word, where there are maps"
    assert routed_size[1] > plain_size[1] == bare_size[1], "heat maps where heads were weighted"


def test_a_sheet_is_of_the_prompt_and_words_that_are_asked_for() -> None:
    routed = result("headrouter")
    chosen = edit_sheet(routed, words=["blue", "dog"])
    assert np.array_equal(np.asarray(edit_sheet(routed)), np.asarray(chosen)), (
        "by default the words that the source lacks"
    )
    assert edit_sheet(routed, words=["dog"]).size[0] < edit_sheet(routed, words=["dog", "blue", "a"]).size[0]
    assert not np.array_equal(np.asarray(edit_sheet(routed, 0, ["dog"])), np.asarray(edit_sheet(routed, 1, ["dog"])))
    with pytest.raises(InvalidInputError, match="'cat' is not in the prompt"):
        edit_sheet(routed, words=["cat"])
    with pytest.raises(InvalidInputError, match="`prompt` must be 0 to 1"):
        edit_sheet(routed, 2)


def test_new_words_are_those_that_the_source_does_not_have_there() -> None:
    source = Prompt("two small red stars on a white background", {})
    assert Prompt("two small red stars on a white background", {}).new_words(source) == ()
    assert Prompt("three small red stars on a white background", {}).new_words(source) == ("three",)
    assert Prompt("two small red stars on a mint background, sketched", {}).new_words(source) == ("mint", "sketched")


def test_a_new_word_that_is_there_twice_has_one_panel() -> None:
    picture = Image.new("RGB", (32, 32))
    twice = Editor(ToyMMDiT(), "euler", "none", progress=False).edit(picture, "dog and Dog", steps=1)
    assert edit_sheet(twice).size == edit_sheet(twice, words=["dog", "and"]).size
    assert np.array_equal(np.asarray(edit_sheet(twice)), np.asarray(edit_sheet(twice, words=["dog", "and"])))


def test_a_map_lies_over_the_edit_and_is_brightest_where_the_word_acts() -> None:
    routed = result("headrouter")
    shares, shown = word_shares(routed, "dog", 1), np.asarray(word_picture(routed, "dog", 1)).astype(int)
    assert shares.shape == shown.shape[:2] == (32, 32)
    assert shares.max() == 1 and shares.min() >= 0
    added = (shown - np.asarray(routed.images[1]).astype(int) * 0.25).sum(axis=2)
    assert added.flat[shares.argmax()] > added.flat[shares.argmin()]
    with pytest.raises(InvalidInputError, match="'blue' is not in the prompt"):
        word_shares(routed, "blue", 1)


def test_head_weights_are_drawn_of_one_edit() -> None:
    routed = result("headrouter")
    assert not np.array_equal(np.asarray(heads_picture(routed, 0)), np.asarray(heads_picture(routed, 1)))
    with pytest.raises(InvalidInputError, match="`head_weights`"):
        heads_picture(result("none"))
