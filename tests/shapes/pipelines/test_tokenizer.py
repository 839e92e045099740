"""Tokenizers: the ordinary classes, one token for each word of the world, pieces for any other."""

from pathlib import Path

import pytest
from headrouter_shapes.pipelines.tokenizer import PROMPT_TOKENS, build_clip_tokenizer, build_t5_tokenizer
from headrouter_shapes.world.caption import VARIANTS, caption
from headrouter_shapes.world.scene import Scene
from headrouter_shapes.world.vocabulary import world_words
from transformers import CLIPTokenizer, T5Tokenizer

CLIP, T5 = build_clip_tokenizer(), build_t5_tokenizer()


@pytest.mark.parametrize("word", world_words())
def test_each_word_of_the_world_is_one_token(word: str) -> None:
    assert CLIP.tokenize(f"a {word}")[1:] == [word + "</w>"]
    assert T5.tokenize(f"a {word}")[1:] == ["▁" + word]


@pytest.mark.parametrize("tokenizer", [CLIP, T5], ids=["clip", "t5"])
def test_other_words_become_pieces_and_none_is_lost(tokenizer: CLIPTokenizer | T5Tokenizer) -> None:
    pieces = tokenizer.tokenize("dragonfly")
    assert len(pieces) > 1
    assert "".join(pieces).replace("</w>", "").replace("▁", "") == "dragonfly"


@pytest.mark.parametrize("tokenizer", [CLIP, T5], ids=["clip", "t5"])
def test_the_longest_caption_fits(tokenizer: CLIPTokenizer | T5Tokenizer) -> None:
    scene = Scene("triangle", "purple", "checkered", "white", "large", "center", "three", "outlined")
    longest = max(len(tokenizer(caption(scene, variant)).input_ids) for variant in range(VARIANTS))
    assert PROMPT_TOKENS - 4 <= longest <= PROMPT_TOKENS
    assert tokenizer.model_max_length == PROMPT_TOKENS


def test_special_tokens_stand_where_the_encoders_look_for_them() -> None:
    begin, end = len(CLIP) - 2, len(CLIP) - 1
    assert CLIP("").input_ids == [begin, end]
    assert CLIP.pad_token_id == end
    assert T5("").input_ids == [1]
    assert T5.pad_token_id == 0


def test_a_saved_tokenizer_gives_the_same_tokens(tmp_path: Path) -> None:
    text = caption(Scene("star", "green", "dotted")) + " beside a dragon"
    for tokenizer in (CLIP, T5):
        tokenizer.save_pretrained(tmp_path / type(tokenizer).__name__)
        again = type(tokenizer).from_pretrained(tmp_path / type(tokenizer).__name__)
        assert again(text).input_ids == tokenizer(text).input_ids
