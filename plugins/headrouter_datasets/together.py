"""Take several data sets as one."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import Field, field_validator

from headrouter.config.configuration import validate
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments.dataset import Dataset, Item
from headrouter.plugins import registry
from headrouter.plugins.specifications import ComponentSpec

APART: Final = 10**6
"""Between the numbers of two sets' first pictures."""
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Together(Dataset):
    """Holds the data sets that are taken as one: their edits one after the other, under the label of each.

    A key ``000000000012`` of ``pie-bench`` becomes ``pie-bench-000000000012``, a kind ``change_style`` becomes
    ``pie-bench: change_style``. Pictures of the first set keep their numbers, those of the next are counted from a million on, and
    so forth, so that no two pictures have the same noise.
    """

    sets: Annotated[
        tuple[dict[str, Any], ...],
        Field(min_length=2, description="Data sets: mappings of `name`, parameters and, if wanted, a `label`."),
    ]

    @field_validator("sets")
    @classmethod
    def _is_whole(cls, sets: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        """Return each set with all its parameters, so that a later default does not change what a record means."""
        found = tuple(_described(place, one) for place, one in enumerate(sets))
        labels = [_label(one) for one in found]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise ValueError(f"two sets are called {twice[0]!r}; give one of them a `label`")
        return found

    @cached_property
    def parts(self) -> Mapping[str, Dataset]:
        """Return the data sets by their labels."""
        return {_label(one): _made(one) for one in self.sets}

    def items(self) -> Sequence[Item]:
        """Return the edits of all sets, each set after the other.

        Raises:
            InvalidInputError: all that is wrong in any of them.
        """
        found, wrong = list[Item](), list[str]()
        for place, (label, part) in enumerate(self.parts.items()):
            try:
                found += [_of(label, place, item) for item in part.items()]
            except HeadRouterError as error:  # noqa: PERF203
                wrong += [f"{label}: {line}" for line in str(error).splitlines()]
        if wrong:
            raise InvalidInputError("\n".join(wrong))
        return found

    @property
    def revision(self) -> str:
        """Return a hash of the revisions of all sets."""
        revisions = [[label, part.revision] for label, part in self.parts.items()]
        return hashlib.sha256(json.dumps(revisions).encode()).hexdigest()[:16]

    @property
    def radar(self) -> dict[str, str]:
        """Return the eight kinds as which the kinds of each set count."""
        return {f"{label}: {kind}": one for label, part in self.parts.items() for kind, one in part.radar.items()}


def _of(label: str, place: int, item: Item) -> Item:
    return replace(
        item,
        key=f"{label}-{item.key}",
        picture_key=f"{label}-{item.picture_key}",
        number=item.number + APART * place,
        kind=f"{label}: {item.kind}",
    )


def _label(one: Mapping[str, Any]) -> str:
    return str(one.get("label", one["name"]))


def _described(place: int, one: dict[str, Any]) -> dict[str, Any]:
    label = one.get("label", one.get("name"))
    if not isinstance(one.get("name"), str) or not isinstance(label, str) or not _LABEL.fullmatch(label):
        raise ValueError(
            f"{place} must have a `name`, and a `label` of letters of English, digits, `.`, `_`, `-`; got {one}"
        )
    own = {"label": label} if "label" in one else {}
    try:
        return {"name": one["name"], **own, **_made(one).model_dump(mode="json")}
    except HeadRouterError as error:
        raise ValueError(f"{label}: {error}") from error


def _made(one: Mapping[str, Any]) -> Dataset:
    values = {name: value for name, value in one.items() if name not in ("name", "label")}
    spec = registry().entry("dataset", one["name"]).item
    assert isinstance(spec, ComponentSpec)
    made: Dataset = validate(spec.load(), values)
    if isinstance(made, Together):
        raise InvalidInputError("`sets` cannot hold `together`; name its sets themselves.")
    return made
