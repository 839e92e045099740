"""Check a backbone's prompts: their tensors, and the positions of their words."""

from contextlib import suppress
from typing import Final

import torch

from headrouter.attention.joint_attention import TokenLayout
from headrouter.errors import InvalidInputError
from headrouter.models.backbone import Backbone
from headrouter.prompts.prompt import Prompt
from headrouter.testing.check import check, collect, expect, fail
from headrouter.testing.probe import QUOTED, encoded, filling, latents_of, recorded, rows_of, text_length, text_tensors
from headrouter.testing.subjects import BackboneSubject

TEXTS: Final = (
    "A photo of a dog, red.",
    "  red  cat ",
    "(CAT)",
    "a cat-like dog",
    "a [red] cat",
    QUOTED,
    "'cat' or dog's",
    "",
)
_SWAPS: Final = (("cat", "dog"), ("x", "y"), ("red", "cat"), ("q", "z"))


@check(since="0.1")
def prompts_are_encoded_one_by_one(subject: BackboneSubject) -> None:
    """A prompt's tensors, each [1, ...], do not depend on the other prompts; their shapes differ along text axes alone.

    If this fails: encode each prompt alone, to a fixed length or its own; name the axes that run over text tokens (`text_axes`).
    """
    backbone = subject.build()
    state = torch.random.get_rng_state()
    [alone] = encoded(backbone, "a cat")
    other, again = encoded(backbone, "the red dog", "a cat")
    long = filling(backbone)
    third, *_ = encoded(backbone, "a cat", long)
    expect(torch.equal(torch.random.get_rng_state(), state), "`encode_prompts` draws from the global random generator")
    expect([alone.text, other.text] == ["a cat", "the red dog"], "prompts come back in another order, or other words")
    for name, tensor in alone.tensors.items():
        expect(tensor.shape[0] == 1, f"tensor {name!r} of one prompt is {tuple(tensor.shape)}, not [1, ...]")
        expect(not tensor.requires_grad, f"tensor {name!r} carries a gradient")
        expect(torch.equal(tensor, again.tensors[name]), f"tensor {name!r} depends on the prompts beside it")
        expect(torch.equal(tensor, third.tensors[name]), f"tensor {name!r} depends on a long prompt beside it")
        axes = alone.text_axes.get(name, ())
        one, two = ([*each.tensors[name].shape] for each in (alone, other))
        for axis in reversed(axes):
            del one[axis], two[axis]
        expect(
            one == two,
            f"tensor {name!r} is {tuple(tensor.shape)} for one prompt and {tuple(other.tensors[name].shape)} for another",
        )


@check(since="0.1")
def a_prompt_that_is_too_long_is_refused(subject: BackboneSubject) -> None:
    """A prompt longer than the encoders take raises `InvalidInputError`; its end is not cut off silently.

    If this fails: count the tokens before encoding, and say what would be lost.
    """
    backbone = subject.build()
    longest = filling(backbone)
    for text in (f"{longest} cat", "cat dog " * 1000):
        try:
            encoded(backbone, text)
        except InvalidInputError:
            continue
        fail(f"a prompt of {len(text.split())} words is taken without a word about what is cut off")


@check(since="0.1")
def marks_are_not_read(subject: BackboneSubject) -> None:
    """[Brackets], by which a user marks words of a prompt, do not reach the model.

    If this fails: encode the text of `headrouter.prompts.marks.without_marks`; its `origin` tells where a token stands in
    the user's text.
    """
    plain, marked = encoded(subject.build(), "a red cat", "a [red] cat")
    for name, tensor in plain.tensors.items():
        expect(
            torch.equal(tensor, marked.tensors[name]), f"tensor {name!r} of 'a [red] cat' is not that of 'a red cat'"
        )


@check(since="0.1", requires={"prompt-words"})
def tokens_cover_the_words(subject: BackboneSubject) -> None:
    """Of each tokenizer, the tokens of a prompt cover its words, without padding, special tokens and spaces.

    If this fails: `start` and `stop` count characters of the prompt; leave out the special tokens, and the space that some
    tokenizers count to the word after it.
    """
    backbone = subject.build()
    for text in TEXTS:
        [prompt] = encoded(backbone, text)
        expect(bool(prompt.tokens) == bool(text.strip()), f"{text!r} has {len(prompt.tokens)} tokens")
        words = {place for word in prompt.words for place in _places(text, word)}
        for name in sorted({token.tokenizer for token in prompt.tokens}):
            tokens = [token for token in prompt.tokens if token.tokenizer == name]
            covered = {place for token in tokens for place in range(token.start, token.stop)}
            lost = "".join(text[place] for place in sorted(words - covered))
            expect(not lost, f"tokens of {name} leave out {lost!r} of {text!r}")
            for token in tokens:
                piece = text[token.start : token.stop]
                expect(piece == piece.strip() and bool(piece), f"a token of {name} covers {piece!r} of {text!r}")


def _places(text: str, word: str) -> set[int]:
    at, found = text.find(word), set[int]()
    while at >= 0:
        found |= set(range(at, at + len(word)))
        at = text.find(word, at + 1)
    return found


@check(since="0.1", requires={"prompt-words"})
def words_are_at_their_positions(subject: BackboneSubject) -> None:
    """Changing a word changes the conditioning most, or first, at the positions where `find` says that the word is.

    If this fails: positions count from the first token of the text part of the joint sequence, the beginning-of-text token and the
    parts of other encoders before it included.
    """
    backbone = subject.build()
    [row] = rows_of(backbone, "a cat", guidance=1.0)
    layout = recorded(backbone, latents_of(backbone), [row]).layouts[0]
    length, names = text_length(layout), text_tensors(row.prompt, layout)
    compared = set[str]()
    _last_word(backbone, names)
    for one, other in _SWAPS:
        first, second = encoded(backbone, f"a {one} of the", f"a {other} of the")
        for tokenizer in sorted({token.tokenizer for token in first.tokens} - compared):
            places = _positions(first, tokenizer)
            if places != _positions(second, tokenizer):
                continue  # the two words have different numbers of tokens
            expect(max(places) < length, f"{tokenizer} has a token at {max(places)} of {length} text positions")
            own = set(first.find(one)) & set(places)
            difference = sum(
                (second.tensors[name] - first.tensors[name])[0].float().flatten(1).norm(dim=-1) for name in names
            )
            assert isinstance(difference, torch.Tensor)
            segment = _segment(layout, tokenizer, len(difference))
            strongest = max(segment, key=lambda place: float(difference[place]))
            changed = [place for place in segment if difference[place] > 1e-6 * difference[strongest]]
            expect(
                strongest in own or changed[0] in own,  # the first, of an encoder that reads from left to right
                f"{tokenizer}: {one!r} in {first.text!r} is said to be at {sorted(own)}; changing it to {other!r} changes position"
                f" {strongest} most and {changed[0]} first",
            )
            compared.add(tokenizer)


def _segment(layout: TokenLayout, tokenizer: str, length: int) -> range:
    """Return the positions, of ``length`` text tokens, that a tokenizer's encoder fills; all where no segment has its name."""
    start = 0
    for name, own in layout.segments[:-1]:
        if name == tokenizer:
            return range(start, start + own)
        start += own
    return range(start if layout.segments[-1][0] == tokenizer else 0, length)


def _last_word(backbone: Backbone, names: list[str]) -> None:
    """Of a prompt that fills the limit, changing the last word changes the conditioning at its positions, and none before."""
    text, found = filling(backbone), list[Prompt]()
    while not found:
        text = text.rpartition(" ")[0]
        with suppress(InvalidInputError):
            found = encoded(backbone, f"{text} cat".strip(), f"{text} dog".strip())
    first, second = found
    tokenizer = first.tokens[-1].tokenizer
    places = _positions(first, tokenizer)
    if places != _positions(second, tokenizer):
        return  # the two words have different numbers of tokens
    changed = sum((second.tensors[name] - first.tensors[name])[0].float().flatten(1).norm(dim=-1) for name in names)
    assert isinstance(changed, torch.Tensor)
    strongest = max(places, key=lambda place: float(changed[place]))
    own = {token.position for token in first.tokens if token.tokenizer == tokenizer and token.start >= len(text)}
    expect(
        strongest in own,
        f"{tokenizer}: the last of {len(text.split()) + 1} words, which fill the limit, is said to be at {sorted(own)}; changing it"
        f" changes position {strongest} most",
    )


def _positions(prompt: Prompt, tokenizer: str) -> list[int]:
    return [token.position for token in prompt.tokens if token.tokenizer == tokenizer]


CHECKS = collect(globals())
