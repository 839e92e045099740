"""Prompts: their tensors, the positions of their words, and prompts that are too long."""

import warnings

import pytest
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3.parameters import SD3Parameters
from tokenizers.pre_tokenizers import Metaspace

from headrouter.errors import InvalidInputError, PromptWarning

from .conftest import build

TEXTS = [
    "A photo of a Dog, the dog's cat-like dog.",
    "  red  cat ",
    "été: crème brûlée!",
    "a 🐶 cat",
    "(CAT)",
    "",
]


@pytest.mark.filterwarnings("ignore::headrouter.errors.PromptWarning")
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_cover_every_word_and_nothing_but_words(backbone, text):
    [prompt] = backbone.encode_prompts([text])
    names = {token.tokenizer for token in prompt.tokens}
    assert bool(names) == bool(text), "every word has tokens"
    for name in names:
        tokens = [token for token in prompt.tokens if token.tokenizer == name]
        covered = {place for token in tokens for place in range(token.start, token.stop)}
        assert covered == {place for place, letter in enumerate(text) if not letter.isspace()}, name
        assert all(not text[token.start].isspace() for token in tokens)
        positions = [token.position for token in tokens]
        assert positions == list(range(positions[0], positions[0] + len(positions)))
    if not text:
        assert prompt.tokens == ()


@pytest.mark.filterwarnings("ignore::headrouter.errors.PromptWarning")
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_that_count_the_space_before_a_word(text):
    """As the tokenizer files of published models do; this one's splits at spaces first."""
    pipeline = tiny_flux(t5_length=64)
    pipeline.tokenizer_2.backend_tokenizer.pre_tokenizer = Metaspace()
    [prompt] = FluxParameters().load("tiny", pipeline).encode_prompts([text])
    raw = pipeline.tokenizer_2(text, return_offsets_mapping=True)["offset_mapping"]
    if " " in text.strip():
        assert any(text[start:stop].startswith(" ") for start, stop in raw)
    covered = {place for token in prompt.tokens for place in range(token.start, token.stop)}
    assert covered == {place for place, letter in enumerate(text) if not letter.isspace()}
    for word in prompt.words:
        pieces = [token for token in prompt.tokens if token.position in prompt.find(word)]
        assert all(token.stop - token.start <= len(word) for token in pieces)
        assert "".join(text[token.start : token.stop] for token in pieces).casefold().count(word.casefold())


def names(prompt):
    return {token.tokenizer for token in prompt.tokens}


def test_tokenizers_that_enter_joint_attention():
    assert names(build("flux").encode_prompts(["a cat"])[0]) == {"t5"}
    assert names(build("sd3").encode_prompts(["a cat"])[0]) == {"clip-l", "clip-g", "t5"}
    assert names(build("sd3-without-t5").encode_prompts(["a cat"])[0]) == {"clip-l", "clip-g"}


@pytest.mark.parametrize(
    ("word", "clip", "t5"),
    [  # clip: begin, a, cat, d, o, g, comma, d, o, g; t5: a, cat, dog, comma, dog
        ("cat", (2,), (1,)),
        ("dog", (3, 4, 5, 7, 8, 9), (2, 4)),
        ("a", (1,), (0,)),
        ("a CAT", (1, 2), (0, 1)),
    ],
)
def test_words_are_found(word, clip, t5):
    [prompt] = build("flux").encode_prompts(["a cat dog, dog"])
    assert prompt.find(word) == t5
    [prompt] = build("sd3").encode_prompts(["a cat dog, dog"])
    assert prompt.find(word) == (*clip, *(77 + position for position in t5))
    [prompt] = build("sd3-without-t5").encode_prompts(["A Cat DOG, dog"])
    assert prompt.find(word) == clip, "case is ignored"


def test_a_found_token_is_the_words_own():
    backbone = build("flux")
    tokenizer = backbone.pipeline.tokenizer_2
    [prompt] = backbone.encode_prompts(["the red cat"])
    [place] = prompt.find("red")
    assert tokenizer.convert_ids_to_tokens(tokenizer(prompt.text)["input_ids"])[place] == "▁red"


def test_an_unknown_word_is_an_error():
    [prompt] = build("flux").encode_prompts(["a cat"])
    with pytest.raises(InvalidInputError, match="Its words: a, cat"):
        prompt.find("ca")


def test_without_t5_its_positions_are_zero():
    [prompt] = build("sd3-without-t5").encode_prompts(["a cat"])
    embeds = prompt.tensors["prompt_embeds"]
    assert embeds.shape == (1, 77 + 24, 32)
    assert embeds[:, 77:].abs().max() == 0
    assert embeds[:, :77].abs().min(dim=-1).values.shape == (1, 77)
    assert max(prompt.positions) < 77


@pytest.mark.parametrize("kind", ["flux", "sd3"])
def test_a_prompt_that_t5_would_cut_is_refused(kind, caplog):
    backbone = build(kind)
    backbone.encode_prompts(["the " * 23])  # 23 words and the end
    told = r"`prompt` is too long: t5 takes 24 tokens and this text has 26.*'red cat'"
    with pytest.raises(InvalidInputError, match=told):
        backbone.encode_prompts(["a", "the " * 23 + "red cat"])
    assert not caplog.records


def test_without_t5_clip_leads():
    backbone = build("sd3-without-t5")
    text = "cat " * 74 + "x"  # one token each, begin and end
    backbone.encode_prompts([text])
    with pytest.raises(InvalidInputError, match=r"clip-[lg] takes 77 tokens and this text has 78.*'y'"):
        backbone.encode_prompts([text + " y"])


@pytest.mark.parametrize("kind", ["flux", "sd3"])
def test_a_prompt_that_only_clip_cuts_is_a_warning(kind, caplog):
    if kind == "flux":
        backbone = FluxParameters().load("tiny", tiny_flux(t5_length=200))
    else:
        backbone = SD3Parameters().load("tiny", tiny_sd3(t5_length=200))
    text = "the " * 25 + "red cat"
    with pytest.warns(PromptWarning, match=r"longer than clip.* 'red cat'; t5 sees all of it") as caught:
        [prompt] = backbone.encode_prompts([text])
    assert len(caught) == (1 if kind == "flux" else 2)
    assert not caplog.records, "the pipeline's own notes are silenced"
    for position in prompt.find("cat"):
        assert position >= (0 if kind == "flux" else 77)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backbone.encode_prompts(["the red cat"])


def test_the_number_of_t5_tokens_can_be_chosen():
    flux = FluxParameters(max_sequence_length=8).load("tiny", tiny_flux())
    assert flux.encode_prompts(["a cat"])[0].tensors["prompt_embeds"].shape[1] == 8
    sd3 = SD3Parameters(max_sequence_length=8).load("tiny", tiny_sd3())
    assert sd3.encode_prompts(["a cat"])[0].tensors["prompt_embeds"].shape[1] == 77 + 8
    long = FluxParameters().load("tiny", tiny_flux(t5_length=1000))
    assert long.encode_prompts(["a cat"])[0].tensors["prompt_embeds"].shape[1] == 512


@pytest.mark.parametrize("kind", ["flux", "sd3"])
def test_more_t5_tokens_than_the_model_takes_are_refused(kind):
    parameters, pipeline = {"flux": (FluxParameters, tiny_flux), "sd3": (SD3Parameters, tiny_sd3)}[kind]
    with pytest.raises(
        InvalidInputError, match="`max_sequence_length` must be at most 24, what this model takes, got 25"
    ):
        parameters(max_sequence_length=25).load("tiny", pipeline())
    for number in (1, 513):
        with pytest.raises(ValueError, match="max_sequence_length"):
            parameters(max_sequence_length=number)


@pytest.mark.parametrize(
    ("asked", "takes", "words", "advice"),
    [
        (
            None,
            600,
            260,
            r"256 tokens and this text has 261\..*, or set `max_sequence_length` to 261 or more \(at most 512\)\.",
        ),
        (16, 24, 20, r"set `max_sequence_length` to 21 or more \(at most 24\)\."),
        (16, 24, 30, r"Shorten the prompt; `max_sequence_length` can be 24 at most for this model\."),
        (None, 24, 30, r"Shorten the prompt\.$"),
    ],
)
def test_a_prompt_that_is_too_long_says_what_helps(asked, takes, words, advice):
    backbone = SD3Parameters(max_sequence_length=asked).load("tiny", tiny_sd3(t5_length=takes))
    with pytest.raises(InvalidInputError, match=advice):
        backbone.encode_prompts(["the " * words])
