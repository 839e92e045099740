"""Paired prompts: what the paper asks of them, and vocabularies that are refused."""

from collections import Counter

import pytest
from headrouter_analysis.analyses.pairs import draw_pairs, drawn_pairs, read_vocabulary
from headrouter_shapes.world.caption import parse
from headrouter_shapes.world.vocabulary import SEMANTICS

from headrouter.errors import InvalidInputError

SMALL = {"colour": ("red", "blue", "green"), "thing": ("dog", "cat", "car"), "place": ("at sea", "at home")}


def test_the_bundled_words_give_eight_times_five_hundred_different_pairs() -> None:
    words = read_vocabulary()
    pairs = draw_pairs(words, 500)
    assert len(words) == 8 and Counter(pair.semantic for pair in pairs) == dict.fromkeys(words, 500)
    assert len({(pair.semantic, pair.first, pair.second) for pair in pairs}) == 4000
    assert len({pair.seed for pair in pairs}) > 3900


@pytest.mark.parametrize("form", ["independent", "same_context"])
def test_a_pair_differs_in_its_semantic_and_takes_its_context_from_the_others(form: str) -> None:
    pairs = draw_pairs(SMALL, 6, form=form)
    same = 0
    for pair in pairs:
        own = SMALL[pair.semantic]
        others = [word for name, words in SMALL.items() if name != pair.semantic for word in words]
        (a1, w1, u1), (a2, w2, u2) = (text.split(", ") for text in (pair.first, pair.second))
        assert (a1, a2) == ("a", "a") and w1 in own and w2 in own and w1 != w2 and u1 in others and u2 in others
        same += u1 == u2
    assert same == len(pairs) if form == "same_context" else same < len(pairs)


def test_pairs_depend_on_the_seed_alone() -> None:
    assert draw_pairs(SMALL, 4, seed=1) == draw_pairs(SMALL, 4, seed=1) != draw_pairs(SMALL, 4, seed=2)
    only = draw_pairs(SMALL, 4, seed=1, semantics=["place"])
    assert only == [pair for pair in draw_pairs(SMALL, 4, seed=1) if pair.semantic == "place"]


def test_drawn_pairs_differ_in_one_semantic_alone() -> None:
    pairs = drawn_pairs(5, seed=3)
    assert Counter(pair.semantic for pair in pairs) == dict.fromkeys(SEMANTICS, 5)
    for pair in pairs:
        first, second = parse(pair.first), parse(pair.second)
        assert {name for name in SEMANTICS if first[name] != second[name]} == {pair.semantic}


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="there are: colour, thing, place"):
        draw_pairs(SMALL, 1, semantics=["shape"])
    with pytest.raises(InvalidInputError, match="at most 6 for 'place'"):
        draw_pairs(SMALL, 7, form="same_context", semantics=["place"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour: [red, blue]", "at least two semantics"),
        ("colour: [red]\nplace: [at sea, at home]", r"words.yaml:1:9: `colour`: .*at least 2 items"),
        ("colour: [red, blue]\nplace: [at sea, Red]", "'Red' is there twice, in 'colour' and in 'place'"),
        ("colour: [red, café]\nplace: [at sea, cafe\u0301]", "is there twice, in 'colour' and in 'place'"),
        ("colour: [red, 3]\nplace: [at sea, at home]", r"words.yaml:1:15: `colour.1`: .*string"),
        ("colour: [red, blue\nplace: [at", "not valid YAML"),
        ("- red", "must map each semantic to a list"),
        ("", "must map each semantic to a list"),
    ],
)
def test_damaged_vocabularies_are_refused_with_their_place(tmp_path, text, said) -> None:
    path = tmp_path / "words.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=said):
        read_vocabulary(path)


def test_a_vocabulary_may_be_json(tmp_path) -> None:
    (tmp_path / "words.json").write_text('{"colour": ["red", "blue"], "place": ["at sea", "at home"]}')
    assert read_vocabulary(tmp_path / "words.json")["place"] == ("at sea", "at home")
    with pytest.raises(InvalidInputError, match="cannot read"):
        read_vocabulary(tmp_path / "none.yaml")
