"""Measure the sensitivity of every head to every semantic over many pairs: arXiv:2411.15034, sec. 3.1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from headrouter_analysis.analyses.pairs import Pair
from headrouter_analysis.methods.sensitivity import HeadSensitivity
from headrouter_analysis.profile import Profile
from headrouter_analysis.runs import Runs, batches
from headrouter_analysis.statistics import PermutationTest, differ_by_group


@final
@dataclass(frozen=True, eq=False)
class HeadAnalysis:
    """Holds the findings of an analysis of heads.

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

    One number per pair and head is kept, c, its mean over the steps. The test of specialisation takes log c without its mean over
    heads, so that semantics which change pictures more do not count as specialised for that.

    Args:
        runs: Model and settings.
        pairs: Pairs of two or more semantics, equally many of each.
        method: Comparison of outputs.
        batch: Pairs at a time.
        record: Description of the run in the profile.
        progress: Show a bar.
    """
    semantics = list(dict.fromkeys(pair.semantic for pair in pairs))
    distances, groups = [], []
    for part in batches(pairs, batch, "pairs", progress=progress):
        texts = [(pair.first, pair.second) for pair in part]
        sampled = runs.compare(texts, [pair.seed for pair in part], [method or HeadSensitivity()])
        distances.append(sampled.diagnostics[0]["head_dissimilarity"].double().nanmean(dim=1))
        groups += [semantics.index(pair.semantic) for pair in part]
    distance, group = torch.cat(distances), np.array(groups)
    logarithm = distance.clamp(min=1e-12).log()
    test = differ_by_group((logarithm - logarithm.mean(dim=(1, 2), keepdim=True)).flatten(1).numpy(), group)
    fewest = int(np.bincount(group).min())
    found = [
        torch.std_mean(distance[group == number], dim=0, correction=min(1, fewest - 1))
        for number in range(len(semantics))
    ]
    deviation, mean = (torch.stack(parts) for parts in zip(*found, strict=True))
    described = {**(record or {}), "settings": runs.settings, "specialisation": test.as_dict()}
    profile = Profile(tuple(semantics), mean, deviation, fewest, described)
    return HeadAnalysis(profile, test)
