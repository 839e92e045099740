"""Make the paired prompts by which heads are analysed: arXiv:2411.15034, eq. 3–6."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, final

import numpy as np
from pydantic import Field, RootModel, StringConstraints, model_validator

from headrouter.config.configuration import validate
from headrouter.config.yaml_document import read_yaml
from headrouter.errors import InvalidInputError
from headrouter.prompts.words import fold

BUNDLED: Final = Path(__file__).parent / "vocabularies.yaml"

Form = Literal["independent", "same_context"]
Vocabulary = Mapping[str, Sequence[str]]

_Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


@final
@dataclass(frozen=True, slots=True)
class Pair:
    """Holds two prompts that differ in one semantic, and the seed of their common noise."""

    semantic: str
    first: str
    second: str
    seed: int


class _Vocabularies(RootModel[dict[_Word, Annotated[tuple[_Word, ...], Field(min_length=2)]]]):
    @model_validator(mode="after")
    def _tell_apart(self) -> "_Vocabularies":
        if len(self.root) < 2:
            raise ValueError("a vocabulary file names at least two semantics, each with its words")
        owners: dict[str, str] = {}
        for semantic, words in self.root.items():
            for word in words:
                if fold(word) in owners:
                    raise ValueError(f"{word!r} is there twice, in {owners[fold(word)]!r} and in {semantic!r}")
                owners[fold(word)] = semantic
        return self


def read_vocabulary(path: str | Path = BUNDLED) -> dict[str, tuple[str, ...]]:
    """Read words by semantic from YAML or JSON.

    Raises:
        InvalidInputError: not there, damaged, fewer than two semantics, fewer than two words of one, a word that is there twice.
    """
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise InvalidInputError(f"'{path}' must map each semantic to a list of its words, as {BUNDLED.name} does.")
    return {semantic: tuple(words) for semantic, words in validate(_Vocabularies, document).root.items()}


def chosen_semantics(known: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the semantics that are asked for, in their own order; all if none is.

    Raises:
        InvalidInputError: one that is not known; the message lists those that are.
    """
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InvalidInputError(
            f"`semantic` {', '.join(map(repr, unknown))} is unknown; there are: {', '.join(known)}."
        )
    return [name for name in known if not wanted or name in wanted]


def draw_pairs(
    vocabulary: Vocabulary, count: int, *, form: Form = "independent", seed: int = 0, semantics: Sequence[str] = ()
) -> list[Pair]:
    """Draw ``count`` different pairs of each semantic, p = "a, w, u", the same for the same arguments.

    Args:
        vocabulary: Words by semantic.
        count: Pairs of each semantic; the paper has 500.
        form: ``independent``: w1 ≠ w2 of the semantic, u1 and u2 of the other semantics, each drawn on its own; ``same_context``:
            u1 = u2, so that nothing but the semantic differs.
        seed: Of the draw, and of each pair's noise.
        semantics: Those to draw for; all if empty. Leaving one out does not change the pairs of another.

    Raises:
        InvalidInputError: there are not as many different pairs.
    """
    pairs: list[Pair] = []
    for semantic in chosen_semantics(list(vocabulary), semantics):
        own = vocabulary[semantic]
        others = [word for name, words in vocabulary.items() if name != semantic for word in words]
        most = len(own) * (len(own) - 1) * len(others) ** (2 if form == "independent" else 1)
        if count > most // 2:
            raise InvalidInputError(
                f"`pairs` must be at most {most // 2} for {semantic!r} with these words (got {count}). Ask for fewer, or add words."
            )
        number = list(vocabulary).index(semantic)
        generator = np.random.default_rng((seed, number))
        found: dict[tuple[str, str], None] = {}
        while len(found) < count:
            w1, w2 = (own[place] for place in generator.choice(len(own), 2, replace=False))
            u1, u2 = (others[place] for place in generator.integers(len(others), size=2))
            found[f"a, {w1}, {u1}", f"a, {w2}, {u2 if form == 'independent' else u1}"] = None
        seeds = generator.integers(2**31, size=count).tolist()
        pairs += [Pair(semantic, *texts, noise) for texts, noise in zip(found, seeds, strict=True)]
    return pairs


def drawn_pairs(count: int, *, seed: int = 0, semantics: Sequence[str] = ()) -> list[Pair]:
    """Draw pairs of captions: a scene, and the scene with another value of one semantic."""
    from headrouter_shapes.world.caption import VARIANTS, caption
    from headrouter_shapes.world.scene import edit, sample_scene
    from headrouter_shapes.world.vocabulary import SEMANTICS

    pairs = []
    for semantic in chosen_semantics(list(SEMANTICS), semantics):
        generator = np.random.default_rng((seed, list(SEMANTICS).index(semantic)))
        for _ in range(count):
            scene = sample_scene(generator)
            variant = int(generator.integers(VARIANTS))
            texts = caption(scene, variant), caption(edit(scene, semantic, generator), variant)
            pairs.append(Pair(semantic, *texts, int(generator.integers(2**31))))
    return pairs


def as_rows(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return plain data, for a table."""
    return [
        {"semantic": pair.semantic, "first": pair.first, "second": pair.second, "seed": pair.seed} for pair in pairs
    ]
