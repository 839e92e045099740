"""Compute 95 % confidence intervals of rates, of means and of paired differences.

Edits of one picture succeed or fail together more often than edits of two. Where each picture is edited several times, to
several prompts or from several seeds, an interval over all edits takes that into account (``groups``): pictures are drawn
whole, with all that was done with them. That some kinds are harder than others is no chance, since every set has as many of
each, so it does not widen an interval (``kinds``). How far results differ from seed to seed is a level of its own:
:func:`spread_over_seeds`.
"""

import dataclasses
import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

Values = npt.NDArray[np.float64]
Z: Final = NormalDist().inv_cdf(0.975)
"""97.5 % quantile of the standard normal distribution."""


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """Holds a mean of ``count`` values with its 95 % confidence interval; all NaN without values, infinite of one picture."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        """Return the mean [low, high]."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def as_dict(self) -> dict[str, float | int | None]:
        """Return plain data for JSON, rounded to six digits; None for what is not finite."""
        low, value, high = (
            float(f"{one:.6g}") if math.isfinite(one) else None for one in (self.low, self.value, self.high)
        )
        return {"mean": value, "low": low, "high": high, "count": self.count}


def student(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's distribution.

    >>> [round(student(degrees), 2) for degrees in (9, 19, 79)]
    [2.26, 2.09, 1.99]
    """
    return float(special.stdtrit(degrees, 0.975))


def wilson(rate: float, count: float) -> tuple[float, float]:
    """Return Wilson's score interval of a rate in ``count`` trials, which need not be a whole number.

    That of ``scipy.stats.binomtest`` where it is one.

    >>> [round(end, 3) for end in wilson(0.5, 10)], [round(end, 3) for end in wilson(0.0, 10)]
    ([0.237, 0.763], [0.0, 0.278])
    """
    spread = Z * math.sqrt(rate * (1 - rate) / count + Z**2 / (4 * count**2))
    centre, scale = rate + Z**2 / (2 * count), 1 + Z**2 / count
    low, high = (centre - spread) / scale, (centre + spread) / scale
    return max(0.0, min(rate, low)), min(1.0, max(rate, high))  # the rate itself is inside, whatever rounding does


def rate(
    successes: Sequence[bool] | Values, groups: Sequence[Hashable] = (), kinds: Sequence[Hashable] = ()
) -> Estimate:
    """Return the share of successes, with Wilson's interval at ``n / design effect`` trials; without groups all are independent.

    The design effect is the variance of the mean with groups kept whole over the variance of as many single trials, and
    at least 1; where every group has one trial it is 1.
    """
    values = np.asarray(successes, dtype=np.float64)
    if not len(values):
        return Estimate(math.nan, math.nan, math.nan, 0)
    groups = groups or range(len(values))
    share, shared = float(values.mean()), len(set(groups)) < len(values)
    alone = share * (1 - share) / len(values)
    effect = max(1.0, _variance(values, groups, kinds) / alone) if alone and shared else 1.0
    return Estimate(share, *wilson(share, len(values) / effect), len(values))


def mean(values: Sequence[float] | Values, groups: Sequence[Hashable] = (), kinds: Sequence[Hashable] = ()) -> Estimate:
    """Return the mean with Student's interval, groups kept whole; values that are NaN are left out.

    Without groups all values are independent. Of paired differences this is the paired interval.

    >>> print(mean([1.0, 2.0, 3.0, math.nan]))
    2.000 [-0.484, 4.484]
    """
    groups = groups or range(len(values))
    there = [index for index, value in enumerate(values) if not math.isnan(value)]
    if not there:
        return Estimate(math.nan, math.nan, math.nan, 0)
    present, kept = np.array([values[index] for index in there]), [groups[index] for index in there]
    centre, degrees = float(present.mean()), len(set(kept)) - 1
    if degrees < 1:
        return Estimate(centre, -math.inf, math.inf, len(there))
    spread = _variance(present, kept, [kinds[index] for index in there] if kinds else ())
    half = student(degrees) * math.sqrt(spread)
    return Estimate(centre, centre - half, centre + half, len(there))


def spread_over_seeds(values: Sequence[float] | Values, seeds: Sequence[Hashable]) -> float:
    """Return the standard deviation between the means of the seeds.

    So far a table moves when all is run from another seed. NaN with less than two seeds.

    >>> spread_over_seeds([1.0, 3.0, 2.0, 4.0], [0, 0, 1, 1])
    0.7071067811865476
    """
    members: dict[Hashable, list[float]] = {}
    for value, seed in zip(values, seeds, strict=True):
        if not math.isnan(value):
            members.setdefault(seed, []).append(float(value))
    if len(members) < 2:
        return math.nan
    return float(np.std([np.mean(some) for some in members.values()], ddof=1))


def _variance(values: Values, groups: Sequence[Hashable], kinds: Sequence[Hashable]) -> float:
    """Return the variance of the mean, groups drawn whole: ``k/(k − 1) · Σ_g (Σ_{i in g} (x_i − m_i))² / n²``.

    m_i is the mean of the value's kind if each kind has several values, else the mean of all. With one value in each group
    and one kind this is the sample variance over n.
    """
    kinds = kinds or [0] * len(values)
    members: dict[Hashable, list[float]] = {}
    for value, kind in zip(values, kinds, strict=True):
        members.setdefault(kind, []).append(float(value))
    several = all(len(some) > 1 for some in members.values())
    centre = {kind: float(np.mean(some if several else values)) for kind, some in members.items()}
    sums: dict[Hashable, float] = {}
    for value, group, kind in zip(values, groups, kinds, strict=True):
        sums[group] = sums.get(group, 0.0) + float(value) - centre[kind]
    if len(sums) < 2:
        return 0.0
    return len(sums) / (len(sums) - 1) * sum(total**2 for total in sums.values()) / len(values) ** 2
