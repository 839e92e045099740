"""Test whether a semantic changes more without its most sensitive heads than without as many others. Drawn world only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from PIL import Image

from headrouter.experiments.statistics import Estimate, mean, rate
from headrouter.methods.heads import Heads
from headrouter_analysis.analyses.pairs import chosen_semantics
from headrouter_analysis.methods.dropout import HeadDropout
from headrouter_analysis.profile import By, Profile
from headrouter_analysis.runs import Runs, batches
from headrouter_analysis.statistics import Array


@final
@dataclass(frozen=True, eq=False)
class Dropping:
    """Holds the readings of pictures without some heads.

    Attributes:
        semantics: Names, those whose heads were dropped.
        all_semantics: Names of everything that was read.
        changed: ``[dropped semantic, picture, read semantic]``, 1 where the reading is another than with all heads.
        at_random: ``[picture, read semantic]``, the same without as many random heads, mean over the draws.
    """

    semantics: tuple[str, ...]
    all_semantics: tuple[str, ...]
    changed: Array
    at_random: Array

    def row(self, semantic: str) -> dict[str, Any]:
        """Return the effects on one semantic, as plain data with 95 % intervals over the pictures."""
        place, read = self.semantics.index(semantic), self.all_semantics.index(semantic)
        own, chance = self.changed[place, :, read], self.at_random[:, read]
        return {
            "semantic": semantic,
            "changed without its heads": rate(own).as_dict(),
            "changed without random heads": mean(chance).as_dict(),
            "more than random": mean(own - chance).as_dict(),
        }

    @property
    def more_than_random(self) -> Estimate:
        """Compare own heads with random ones, mean over semantics, over pictures."""
        return mean(self._own.mean(axis=0) - self.at_random[:, self._read].mean(axis=1))

    @property
    def more_than_others(self) -> Estimate:
        """Compare a semantic without its own heads with the same one without those of others; needs two semantics."""
        every = self.changed[:, :, self._read]
        count = len(self.semantics)
        others = (every.sum(axis=0).T - self._own) / max(1, count - 1)
        return mean((self._own - others).mean(axis=0))

    @property
    def _read(self) -> list[int]:
        return [self.all_semantics.index(name) for name in self.semantics]

    @property
    def _own(self) -> Array:
        """Return [dropped semantic, picture], whether that semantic changed."""
        return np.stack([self.changed[place, :, read] for place, read in enumerate(self._read)])


def measure_dropping(
    runs: Runs,
    profile: Profile,
    *,
    top: int,
    pictures: int,
    by: By = "sensitivity",
    draws: int = 2,
    semantics: Sequence[str] = (),
    seed: int = 0,
    batch: int = 8,
    progress: bool = False,
) -> Dropping:
    """Generate captions with all heads, without the ``top`` of each semantic, and without random ones.

    All from the same noise, heads dropped in both branches of guidance and in all steps. Each batch draws random heads of its own,
    ``draws`` times.
    """
    from headrouter_shapes.world.caption import VARIANTS, caption
    from headrouter_shapes.world.scene import sample_scene
    from headrouter_shapes.world.vocabulary import SEMANTICS

    names = chosen_semantics(profile.semantics, semantics)
    sets = {name: profile.most_sensitive(name, top, by) for name in names}
    generator = np.random.default_rng((seed, 7))
    asked = [
        (caption(sample_scene(generator), int(generator.integers(VARIANTS))), seed * 1_000_003 + number)
        for number in range(pictures)
    ]
    _, blocks, heads = profile.mean.shape
    changed: list[list[Array]] = [[] for _ in names]
    chance = []
    for part in batches(asked, batch, "pictures", progress=progress):
        prompts, seeds = [text for text, _ in part], [noise for _, noise in part]
        plain = _readings(_drawn(runs, prompts, seeds, ()))
        for place, name in enumerate(names):
            changed[place].append(plain != _readings(_drawn(runs, prompts, seeds, sets[name])))
        drawn = []
        for _ in range(draws):
            chosen = generator.choice(blocks * heads, top, replace=False).tolist()
            random = tuple(divmod(place, heads) for place in chosen)
            drawn.append(plain != _readings(_drawn(runs, prompts, seeds, random)))
        chance.append(np.mean(drawn, axis=0))
    stacked = np.stack([np.concatenate(parts) for parts in changed]).astype(np.float64)
    return Dropping(tuple(names), tuple(SEMANTICS), stacked, np.concatenate(chance))


def _drawn(runs: Runs, prompts: Sequence[str], seeds: Sequence[int], heads: Heads) -> list[Image.Image]:
    methods = [HeadDropout(heads=heads, branches="both")] if heads else []
    return runs.pictures(runs.generate(prompts, seeds, methods))


def _readings(pictures: Sequence[Image.Image]) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """Return [picture, semantic], the words that the oracle reads."""
    from headrouter_shapes.world.oracle import read
    from headrouter_shapes.world.vocabulary import SEMANTICS

    found = read(np.stack([np.asarray(picture) for picture in pictures]))
    return np.array([[reading.attributes[name] for name in SEMANTICS] for reading in found])
