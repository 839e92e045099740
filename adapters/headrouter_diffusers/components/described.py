"""Describe components by text for the hash of a pipeline: configurations and vocabularies, written anew when they change.

What a configuration leaves to its defaults takes longer to find than to see that nothing changed since, and so does the text of a
vocabulary; a hash is asked before every run.
"""

import functools
import json
import pickle
from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any, Final
from weakref import WeakKeyDictionary

from headrouter.models.fingerprint import settings_of, text_of

_MOST: Final = 256
_configurations: dict[tuple[type, bytes], str] = {}
"""Texts by the class of a component and all of its configuration; those of former content are forgotten together."""
_vocabularies: "WeakKeyDictionary[Any, tuple[Mapping[str, int], str]]" = WeakKeyDictionary()
"""By tokenizer, its words as they were, and their text."""


def configuration_text(component: Any) -> str:
    """Return the configuration of a component without defaults, of transformers or diffusers, as text."""
    configuration = component.config
    try:
        content = vars(configuration) if hasattr(configuration, "to_diff_dict") else dict(configuration)
        key = type(component), pickle.dumps(content)
    except Exception:  # what cannot be kept apart from what it was is described anew
        return described(component)
    if (text := _configurations.get(key)) is None:
        if len(_configurations) >= _MOST:
            _configurations.clear()
        text = _configurations[key] = described(component)
    return text


def described(component: Any) -> str:
    """Return the text of :func:`configuration_text`, written anew."""
    configuration = component.config
    if hasattr(configuration, "to_diff_dict"):
        return text_of(settings_of(configuration.to_diff_dict()))
    usual = _parameters(type(component))  # type: ignore[arg-type]
    given = {name: _plain(value) for name, value in configuration.items()}
    unusual = {name for name, value in given.items() if name not in usual or value != _plain(usual[name].default)}
    return text_of(settings_of({name: given[name] for name in unusual}))


def words_text(tokenizer: Any) -> str:
    """Return a tokenizer's words with their numbers, as text."""
    words = tokenizer.get_vocab()
    kept, text = _vocabularies.get(tokenizer, ({}, "{}"))
    if kept != words:
        text = text_of(words)
        _vocabularies[tokenizer] = words, text
    return text


def joined(texts: Mapping[str, str]) -> str:
    """Return the text of a mapping, given the texts of its values.

    >>> joined({"b": text_of({"c": 1}), "a": text_of([2])}) == text_of({"a": [2], "b": {"c": 1}})
    True
    """
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in sorted(texts.items())) + "}"


@functools.cache
def _parameters(component: type) -> Mapping[str, Parameter]:
    return signature(component).parameters


def _plain(value: Any) -> str:
    """Return a value as text, equal for a tuple and for the list that it becomes in a file."""
    return json.dumps(value, sort_keys=True, default=str)
