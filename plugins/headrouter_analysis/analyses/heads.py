"""Sensitivity of every head to every semantic, over many pairs of generations: arXiv:2411.15034, sec. 3.1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from headrouter_analysis.analyses.pairs import Pair
from headrouter_analysis.methods.sensitivity import HeadSensitivity
from headrouter_analysis.profile import Profile
from headrouter_analysis.runs import Runs, batches
from headrouter_analysis.statistics import PermutationTest, Running, differ_by_group


@final
@dataclass(frozen=True, eq=False)
class HeadAnalysis:
    """What an analysis of heads finds.

    Attributes:
        profile: Sensitivity by semantic and head.
        specialisation: Whether the heads' profile depends on the semantic, for all heads together.
    """

    profile: Profile
    specialisation: PermutationTest


def analyse_heads(
    runs: Runs,
    pairs: Sequence[Pair],
    *,
    method: HeadSensitivity | None = None,
    batch: int = 8,
    record: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> HeadAnalysis:
    """Generate both pictures of each pair from the same noise, and compare the output of every head.

    Mean and variance are accumulated as pairs come. For the test of specialisation one number per pair and head is kept: log c
    without its mean over heads, so that semantics which change pictures more do not count as specialised for that.

    Args:
        runs: Model and settings.
        pairs: Pairs of two or more semantics, equally many of each.
        method: How outputs are compared.
        batch: Pairs at a time.
        record: What to say of the run in the profile.
        progress: Show a bar.
    """
    semantics = list(dict.fromkeys(pair.semantic for pair in pairs))
    running = {name: Running() for name in semantics}
    profiles, groups = [], []
    for part in batches(pairs, batch, "pairs", progress=progress):
        texts = [(pair.first, pair.second) for pair in part]
        sampled = runs.compare(texts, [pair.seed for pair in part], [method or HeadSensitivity()])
        for pair, values in zip(part, sampled.diagnostics[0]["head_dissimilarity"], strict=True):
            distance = values.nanmean(dim=0)
            running[pair.semantic].add(distance)
            logarithm = distance.clamp(min=1e-12).log()
            profiles.append((logarithm - logarithm.mean()).flatten().numpy().astype(np.float64))
            groups.append(semantics.index(pair.semantic))
    test = differ_by_group(np.stack(profiles), np.array(groups))
    stacked = [torch.stack([getattr(running[name], part) for name in semantics]) for part in ("mean", "deviation")]
    described = {**(record or {}), "settings": runs.settings, "specialisation": test.as_dict()}
    profile = Profile(tuple(semantics), stacked[0], stacked[1], min(one.count for one in running.values()), described)
    return HeadAnalysis(profile, test)
