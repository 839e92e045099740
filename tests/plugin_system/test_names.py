"""The rules of names, as properties of any set of plug-ins."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrouter.errors import PluginConflictError, UnknownNameError
from headrouter.plugins.names import Entry, fold, resolve
from headrouter.plugins.specifications import MethodSpec

WORDS = st.sampled_from(["a", "b", "c_c", "c-c", "d.1", "e"])
DISTRIBUTIONS = st.sampled_from(["headrouter", "headrouter-one", "headrouter-two", "three"])


@st.composite
def entry_lists(draw):
    """Distinct names within a distribution, as the registry guarantees; aliases at will."""
    wanted = draw(st.lists(st.tuples(DISTRIBUTIONS, WORDS, st.lists(WORDS, max_size=2)), max_size=8))
    unique = {(distribution, fold(name)): (name, aliases) for distribution, name, aliases in wanted}
    return [
        Entry(MethodSpec(name, "m:C", aliases=tuple(aliases)), distribution, "p")
        for (distribution, _), (name, aliases) in unique.items()
    ]


def outcome(name, entries):
    try:
        return resolve("method", name, entries)
    except (PluginConflictError, UnknownNameError) as error:
        return type(error)


def expected(name, entries):
    """The specification, written the other way round: rank every claim, the best rank must be held once."""
    ranks = {}
    for entry in entries:
        own = entry.distribution == "headrouter"
        if fold(entry.item.name) == fold(name):
            ranks.setdefault((not own, 0), []).append(entry)
        elif fold(name) in map(fold, entry.item.aliases):
            ranks.setdefault((not own, 1), []).append(entry)
    if not ranks:
        return UnknownNameError
    best = ranks[min(ranks)]
    return best[0] if len(best) == 1 else PluginConflictError


@given(entry_lists(), WORDS)
def test_resolution_follows_the_specification(entries, name):
    assert outcome(name, entries) == expected(name, entries)


@given(entry_lists(), WORDS, st.randoms())
def test_order_of_installation_decides_nothing(entries, name, chance: random.Random):
    shuffled = list(entries)
    chance.shuffle(shuffled)
    assert outcome(name, shuffled) == outcome(name, entries)


@given(entry_lists())
def test_qualified_names_always_reach_their_entry(entries):
    for entry in entries:
        assert resolve("method", entry.qualified_name.upper().replace("-", "_"), entries) is entry


@given(entry_lists(), entry_lists(), WORDS)
def test_strangers_never_change_what_a_word_of_headrouters_own_means(own, strangers, name):
    own = [Entry(entry.item, "headrouter", "p") for entry in {fold(entry.item.name): entry for entry in own}.values()]
    strangers = [entry for entry in strangers if entry.distribution != "headrouter"]
    before = outcome(name, own)
    if before is not UnknownNameError:
        assert outcome(name, own + strangers) == before


@given(entry_lists(), WORDS)
def test_an_override_wins_and_the_last_one_wins_most(entries, name):
    first, last = (Entry(MethodSpec(name, "m:C"), "runtime", plugin, override=True) for plugin in "ab")
    assert resolve("method", name, [*entries, first, last]) is last
    assert resolve("method", f"runtime:{name}", [*entries, first, last]) is last


def test_a_conflict_lists_the_qualified_names():
    entries = [Entry(MethodSpec("sd3.5", "m:C"), dist, "p") for dist in ("headrouter-good", "headrouter-dupe")]
    with pytest.raises(PluginConflictError) as caught:
        resolve("backbone", "SD3.5", entries)
    assert str(caught.value) == (
        "backbone 'SD3.5' is provided by 2 plug-ins: headrouter-dupe:sd3.5, headrouter-good:sd3.5. "
        "Write one of them in full, e.g. 'headrouter-dupe:sd3.5'."
    )


def test_unknown_qualified_names_suggest_qualified_names():
    entries = [Entry(MethodSpec("alpha", "m:C"), "headrouter-good", "p")]
    with pytest.raises(UnknownNameError, match="Did you mean 'headrouter-good:alpha'"):
        resolve("method", "headrouter-god:alpha", entries)
    with pytest.raises(UnknownNameError, match="No method is installed"):
        resolve("method", "alpha", [])
