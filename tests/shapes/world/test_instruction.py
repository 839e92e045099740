"""Instructions: every word is known, each says what changes, and what is held out is never trained on."""

import numpy as np
import pytest
from headrouter_shapes.bench.sets import cases
from headrouter_shapes.pipelines.tokenizer import PROMPT_TOKENS, build_clip_tokenizer, build_t5_tokenizer
from headrouter_shapes.world.caption import words_of
from headrouter_shapes.world.instruction import (
    WORDINGS,
    Change,
    instruction,
    instruction_words,
    no_change,
    training_changes,
)
from headrouter_shapes.world.scene import Scene, edit, sample_scene
from headrouter_shapes.world.vocabulary import SEMANTICS

from headrouter.errors import InvalidInputError


def changes(count: int = 25) -> list[Change]:
    generator = np.random.default_rng(0)
    scenes = [sample_scene(generator) for _ in range(count)]
    return [Change(scene, edit(scene, kind, generator)) for scene in scenes for kind in SEMANTICS]


def said() -> set[str]:
    every = {instruction(change, wording) for change in changes() for wording in range(WORDINGS)}
    return every | {no_change(wording) for wording in range(WORDINGS)}


def test_every_word_is_one_token_of_both_tokenizers_and_every_word_is_used() -> None:
    texts, known = sorted(said()), set(instruction_words())
    used = {word for text in texts for word in words_of(text)}
    assert used <= known
    clip, t5 = build_clip_tokenizer(instruction_words()), build_t5_tokenizer(instruction_words())
    for text in texts[::7]:
        assert len(clip(text).input_ids) == len(words_of(text)) + 2 <= PROMPT_TOKENS
        assert len(t5(text).input_ids) == len(words_of(text)) + 1 <= PROMPT_TOKENS
    captions_only = {"drawing", "of", "with"}
    assert known - used <= captions_only | {value for values in SEMANTICS.values() for value in values}


def test_an_instruction_tells_the_new_value_and_never_two() -> None:
    for change in changes():
        values = [value for value in SEMANTICS[change.kind] if value != getattr(change.source, change.kind)]
        for wording in range(WORDINGS):
            targets = [
                instruction(Change(change.source, edit_to(change.source, change.kind, value)), wording)
                for value in values
            ]
            assert len(set(targets)) == len(values), targets


def edit_to(scene: Scene, kind: str, value: str) -> Scene:
    return Scene(**{**scene.attributes, kind: value}, variation=scene.variation)


def test_the_wordings_as_they_read() -> None:
    two = Scene(shape="star", number="two", position="left")
    assert [instruction(Change(two, edit_to(two, "position", "top")), wording) for wording in range(WORDINGS)] == [
        "move the stars to the top",
        "move it to the top",
        "put the stars at the top",
        "the stars at the top instead of on the left",
    ]
    one = Scene(shape="star", colour="blue")
    assert instruction(Change(one, edit_to(one, "colour", "orange")), 3) == "an orange star instead of blue"
    assert instruction(Change(one, edit_to(one, "number", "three")), 0) == "make it three stars"
    with pytest.raises(InvalidInputError, match="must differ from `source` in one semantic and nothing else; got none"):
        Change(one, one)
    with pytest.raises(InvalidInputError, match="got colour, size"):
        Change(one, Scene(shape="star", colour="red", size="small"))


def test_what_is_held_out_is_never_trained_on_and_the_benchmark_is() -> None:
    trained = training_changes(0, 0, 200)
    assert trained == [*training_changes(0, 0, 50), *training_changes(0, 50, 150)]
    assert not any(change.held_out or change.turned.held_out for change in trained)
    assert {change.kind for change in trained} == set(SEMANTICS)
    tested = [Change(case.source, case.target) for case in cases("test", 80)]
    assert all(change.held_out for change in tested)
    assert [case.instruction for case in cases("test", 4)] == [
        instruction(change, case.wording) for change, case in zip(tested, cases("test", 4), strict=False)
    ]
    scenes = [change for change in changes(100) if not Change.held_out.fget(change)]  # type: ignore[attr-defined]
    assert 0.5 < len(scenes) / 800 < 0.85
