"""Captions say all eight semantics, in words that can be read back."""

import pytest
from headrouter_shapes.world.caption import VARIANTS, caption, check_words, parse, words_of
from headrouter_shapes.world.scene import Scene
from headrouter_shapes.world.vocabulary import SEMANTICS, world_words
from hypothesis import given
from hypothesis import strategies as st

from headrouter.errors import InvalidInputError

from .test_scene import scenes


@given(scenes, st.integers(0, VARIANTS - 1))
def test_a_caption_can_be_read_back(scene: Scene, variant: int) -> None:
    text = caption(scene, variant)
    assert parse(text) == scene.attributes
    check_words(text)


def test_the_wordings_differ() -> None:
    assert len({caption(Scene(), variant) for variant in range(VARIANTS)}) == VARIANTS


@given(scenes, st.integers(0, VARIANTS - 1), st.sampled_from(["colour", "texture", "background", "size"]))
def test_an_edit_of_one_word_is_one_word_of_the_caption(scene: Scene, variant: int, semantic: str) -> None:
    other = next(value for value in SEMANTICS[semantic] if value != getattr(scene, semantic))
    edited = Scene(**{**scene.attributes, semantic: other})
    pairs = list(zip(words_of(caption(scene, variant)), words_of(caption(edited, variant)), strict=True))
    assert [pair for pair in pairs if pair[0] != pair[1]] == [(getattr(scene, semantic), other)]


def test_unknown_words_are_named_and_the_vocabulary_listed() -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_words("A red dragon on a misty background")
    message = str(caught.value)
    assert "unknown: dragon, misty." in message
    assert all(word in message for word in world_words())


def test_a_pictograph_is_a_word_that_the_world_does_not_know() -> None:
    with pytest.raises(InvalidInputError, match="unknown: 🐶"):
        check_words("a red 🐶 star")


def test_two_values_of_one_semantic_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="more than one colour: red, blue"):
        parse("a red and blue star".replace("and", "with"))


def test_what_a_prompt_leaves_out_is_absent() -> None:
    assert parse("") == {}
    assert parse("on a pink background") == {"background": "pink"}
    assert parse("three hearts") == {"shape": "heart", "number": "three"}


@pytest.mark.parametrize("variant", [-1, VARIANTS])
def test_a_variant_that_does_not_exist_is_refused(variant: int) -> None:
    with pytest.raises(InvalidInputError, match=f"`variant` must be between 0 and {VARIANTS - 1}; got {variant}"):
        caption(Scene(), variant)
