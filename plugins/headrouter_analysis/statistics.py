"""Compute areas under curves, overlaps, and a permutation test."""

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


def area_under_curve(scores: Array, coverage: Array) -> float:
    """Return the probability that a random point inside scores higher than one outside; ties count half.

    Each score stands for a cell of which the share ``coverage`` in [0, 1] is inside, so this is the area under the ROC curve of the
    map over the pixels of a mask. By ranks: with cells in ascending order and O the part outside, Σ_i inside_i·(O below i + ½·O
    equal to i) / (inside · outside). NaN where nothing is inside, or everything.

    >>> area_under_curve(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0.0, 1.0, 0.0, 1.0]))
    0.875
    """
    inside, outside = coverage.sum(), (1 - coverage).sum()
    if inside <= 0 or outside <= 0:
        return math.nan
    _, place = np.unique(scores, return_inverse=True)
    outside_at, inside_at = np.bincount(place, 1 - coverage), np.bincount(place, coverage)
    below = np.cumsum(outside_at) - outside_at
    return float((inside_at * (below + outside_at / 2)).sum() / (inside * outside))


def overlap(scores: Array, coverage: Array, threshold: float | None = None) -> float:
    """Return intersection over union of the cells above ``threshold`` times the highest, and the covered area.

    Without a threshold, the best over all of them: an upper bound that knows the answer, for comparing maps with each other.
    """
    inside = coverage.sum()
    if threshold is not None:
        chosen = scores >= threshold * scores.max()
        hit = coverage[chosen].sum()
        return float(hit / (inside + chosen.sum() - hit))
    order = np.argsort(-scores, kind="stable")
    hit, count = np.cumsum(coverage[order]), np.arange(1, len(order) + 1)
    last = np.append(np.diff(scores[order]) != 0, True)  # a threshold takes all cells of equal score
    return float((hit / (inside + count - hit))[last].max())


@final
@dataclass(frozen=True, slots=True)
class PermutationTest:
    """Holds how much groups differ, and how much they would by chance.

    Attributes:
        observed: Share of the variance of profiles that lies between the groups, 0 to 1.
        expected: Its mean when labels are shuffled.
        ninety_fifth: Its 95th percentile then.
        p: Share of shufflings that reach ``observed``, with the one that was observed.
    """

    observed: float
    expected: float
    ninety_fifth: float
    p: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "between semantics": round(self.observed, 5),
            "by chance": round(self.expected, 5),
            "by chance, 95th percentile": round(self.ninety_fifth, 5),
            "p": round(self.p, 5),
        }


def differ_by_group(
    profiles: Array, groups: npt.NDArray[np.intp], *, shuffles: int = 1000, seed: int = 0
) -> PermutationTest:
    """Return whether rows of different groups have different profiles, against shuffled labels.

    Args:
        profiles: ``[samples, features]``.
        groups: Group number of each sample.
        shuffles: Number of shufflings of the labels.
        seed: Of them.
    """
    centred = profiles - profiles.mean(axis=0)
    total = float(np.square(centred).sum())
    sizes = np.bincount(groups)[:, None]
    member = np.eye(len(sizes))

    def between(labels: npt.NDArray[np.intp]) -> float:
        return float((np.square(member[labels].T @ centred) / sizes).sum() / total) if total > 0 else 0.0

    found = stats.permutation_test(
        (groups,),
        between,
        permutation_type="pairings",  # of one sample: it is put in other orders
        n_resamples=shuffles,
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    chance = found.null_distribution
    return PermutationTest(
        float(found.statistic), float(chance.mean()), float(np.quantile(chance, 0.95)), float(found.pvalue)
    )
