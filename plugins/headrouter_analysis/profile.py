"""Hold a measured sensitivity profile: how far each head moves when a semantic changes.

A file that methods can be pointed at.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter.errors import InvalidInputError
from headrouter.files import LARGEST_TEXT, path_of, read_file
from headrouter.methods.head_router.head_weights import normalised

KIND = "head sensitivity"
FORMAT = 1

By = Literal["sensitivity", "specificity"]


@final
@dataclass(frozen=True, eq=False)
class Profile:
    """Holds the mean dissimilarity of each head by semantic.

    Attributes:
        semantics: Names.
        mean: c = 1 − cos, mean over pairs and steps, float64.
        deviation: Standard deviation over pairs.
        pairs: Pairs of each semantic.
        record: Everything else in the file: model, settings, findings.
    """

    semantics: tuple[str, ...]
    mean: Float[Tensor, "semantics blocks heads"]
    deviation: Float[Tensor, "semantics blocks heads"]
    pairs: int
    record: Mapping[str, Any]

    def index(self, semantic: str) -> int:
        """Return the place of a semantic.

        Raises:
            InvalidInputError: it is not in the profile; the message lists those that are.
        """
        if semantic not in self.semantics:
            raise InvalidInputError(
                f"`semantic` {semantic!r} is not in the profile; it has: {', '.join(self.semantics)}."
            )
        return self.semantics.index(semantic)

    @property
    def specificity(self) -> Float[Tensor, "semantics blocks heads"]:
        """Return log c without the mean over heads of its semantic and the mean over semantics of its head.

        Above 0: the head moves more with this semantic than its own liveliness and the size of the change explain.
        """
        logarithm = self.mean.clamp(min=1e-12).log()
        without_size = logarithm - logarithm.mean(dim=(1, 2), keepdim=True)
        return without_size - without_size.mean(dim=0, keepdim=True)

    @property
    def ranking(self) -> tuple[tuple[int, int], ...]:
        """Return all heads as (layer, head), those first that move most over all semantics: by the mean of log c."""
        return _best(self.mean.clamp(min=1e-12).log().mean(dim=0))

    def scores(self, semantic: str, by: By = "sensitivity") -> Float[Tensor, "blocks heads"]:
        """Return the scores that heads are ranked by."""
        return (self.mean if by == "sensitivity" else self.specificity)[self.index(semantic)]

    def most_sensitive(self, semantic: str, count: int, by: By = "sensitivity") -> tuple[tuple[int, int], ...]:
        """Return the ``count`` heads that move most, as (layer, head), best first.

        Raises:
            InvalidInputError: more heads than there are, or fewer than one.
        """
        scores = self.scores(semantic, by)
        if not 1 <= count <= scores.numel():
            raise InvalidInputError(f"`top` must be 1 to {scores.numel()}, the number of heads (got {count}).")
        return _best(scores)[:count]

    def normalised(self, semantic: str, by: By = "sensitivity") -> Float[Tensor, "blocks heads"]:
        """Return d̃ of eq. 13–15: stretched to [0, 1] over the heads of each layer."""
        return normalised(self.scores(semantic, by))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, from which :meth:`load` makes the same profile."""
        half = NormalDist().inv_cdf(0.975) * self.deviation / math.sqrt(self.pairs)
        return {
            "kind": KIND,
            "format": FORMAT,
            **self.record,
            "pairs": self.pairs,
            "heads": [list(head) for head in self.ranking],
            "semantics": {
                name: {
                    "mean": _rounded(self.mean[place]),
                    "deviation": _rounded(self.deviation[place]),
                    "half of the 95 % interval": _rounded(half[place]),
                    "normalised over the heads of a layer": _rounded(self.normalised(name)),
                    "specificity": _rounded(self.specificity[place]),
                }
                for place, name in enumerate(self.semantics)
            },
        }

    @classmethod
    def load(cls, path: str | Path) -> "Profile":
        """Read what ``headrouter analyze heads`` wrote.

        Raises:
            InvalidInputError: not there, damaged, or another kind of file.
        """
        place = path_of(path, "profile")
        place = place / "heads.json" if place.is_dir() else place
        text = read_file(place, "profile", LARGEST_TEXT)
        try:
            data = json.loads(text.decode())
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"`profile` '{place}' cannot be read: {error}.") from error
        if not isinstance(data, dict) or data.get("kind") != KIND or data.get("format") != FORMAT:
            raise InvalidInputError(
                f"`profile` '{place}' is not a sensitivity profile of format {FORMAT}; `headrouter analyze heads` writes one."
            )
        try:
            semantics = dict(data.pop("semantics"))
            mean, deviation = (
                torch.tensor([entry[name] for entry in semantics.values()], dtype=torch.float64, device="cpu")
                for name in ("mean", "deviation")
            )
            pairs = int(data.pop("pairs"))
            data.pop("heads", None)  # follows from the means
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(f"`profile` '{place}' is damaged: {error!r}. Measure it again.") from error
        if mean.ndim != 3 or mean.shape != deviation.shape or not torch.isfinite(mean).all() or pairs < 1:
            raise InvalidInputError(
                f"`profile` '{place}' is damaged: its numbers do not fit together. Measure it again."
            )
        return cls(tuple(semantics), mean, deviation, pairs, data)


def _best(scores: Float[Tensor, "blocks heads"]) -> tuple[tuple[int, int], ...]:
    """Return heads as (layer, head), the highest score first."""
    order = scores.flatten().argsort(descending=True, stable=True).tolist()
    return tuple(divmod(place, scores.shape[1]) for place in order)


def _rounded(values: Tensor) -> list[list[float]]:
    return [[float(f"{value:.6g}") for value in row] for row in values.tolist()]
