"""Resolve a name that a user writes to one registered part, by pure functions.

A name is matched folded (case, and ``_`` equal to ``-``), in this order: qualified (``distribution:name``); what was
registered with ``override``; headrouter's own; everybody else's. Within each, a name beats an alias. So installing a
plug-in never changes what a word of headrouter's own means, and no order of installation decides anything: two
strangers who claim one word both lose it until the user says which is meant.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from headrouter.errors import PluginConflictError, UnknownNameError
from headrouter.plugins.specifications import ComponentSpec, Model, Preset

BUILT_IN: Final = "headrouter"
"""The distribution whose names no other can take."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Holds one registered part and the distribution that brought it."""

    item: ComponentSpec | Model | Preset
    distribution: str
    plugin: str
    override: bool = False

    @property
    def qualified_name(self) -> str:
        """Return ``distribution:name``, which is never ambiguous."""
        return f"{self.distribution}:{self.item.name}"

    @property
    def shortest_name(self) -> str:
        """Return the shortest name that never stands for another part: headrouter's own need no distribution before them."""
        return self.item.name if self.distribution == BUILT_IN else self.qualified_name

    @property
    def words(self) -> set[str]:
        """Return every folded name and alias of this entry."""
        return {fold(self.item.name), *map(fold, self.item.aliases)}


def fold(name: str) -> str:
    """Return the form in which names are compared.

    >>> fold("SD3_Large")
    'sd3-large'
    """
    return name.strip().casefold().replace("_", "-")


def resolve(label: str, name: str, entries: Sequence[Entry], hints: Iterable[str] = ()) -> Entry:
    """Return the entry that ``name`` stands for.

    Args:
        label: what is looked up, for messages: ``"backbone"``.
        name: what the user wrote.
        entries: all entries of that sort.
        hints: sentences about plug-ins that are missing, added when the name is unknown.

    Raises:
        UnknownNameError: the name is not registered; the message names close ones.
        PluginConflictError: several have it; says how to write each.
    """
    distribution, colon, word = fold(name).rpartition(":")
    overriding = [entry for entry in reversed(entries) if entry.override]
    claims = [overriding, [entry for entry in entries if entry.distribution == BUILT_IN], list(entries)]
    if colon:
        claims = [[entry for entry in (*overriding, *entries) if fold(entry.distribution) == distribution]]
    for claimants in claims:
        for words in (lambda entry: {fold(entry.item.name)}, lambda entry: entry.words):
            found = [entry for entry in claimants if word in words(entry)]
            if len(found) == 1 or (found and found[0].override):
                return found[0]
            if found:
                raise _conflict(label, name, found)
    raise UnknownNameError(_unknown(label, name, entries, hints))


def _conflict(label: str, name: str, found: Sequence[Entry]) -> PluginConflictError:
    choices = sorted(entry.qualified_name for entry in found)
    return PluginConflictError(
        f"{label} {name!r} is provided by {len(choices)} plug-ins: {', '.join(choices)}. "
        f"Write one of them in full, e.g. {choices[0]!r}."
    )


def _unknown(label: str, name: str, entries: Sequence[Entry], hints: Iterable[str]) -> str:
    names = sorted({entry.item.name for entry in entries})
    words = {fold(word): word for entry in entries for word in (*entry.item.aliases, entry.item.name)}
    words |= {fold(entry.qualified_name): entry.qualified_name for entry in entries if ":" in name}
    close = [repr(words[word]) for word in get_close_matches(fold(name), words, n=3)]
    sentences = [f"unknown {label} {name!r}."]
    if close:
        sentences.append(f"Did you mean {' or '.join(close)}?")
    sentences.append(f"Known: {', '.join(names)}." if names else f"No {label} is installed.")
    sentences += [f"({hint})" for hint in hints]
    return " ".join(sentences)
