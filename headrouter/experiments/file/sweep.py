"""Expand sweeps: every combination of the values that a file lists for dotted names."""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrouter.config.configuration import Placed
from headrouter.config.yaml_document import Document
from headrouter.errors import InvalidInputError

MOST: Final = 10_000
"""Configurations of an experiment; each is many edits."""


def variants(part: Document, owner: str, prefix: str = "", most: int = MOST) -> Iterator[tuple[str, list[Placed]]]:
    """Yield the combinations of the ``sweep`` of a part of a file, and one without values where it has none.

    Args:
        part: Mapping that may have a ``sweep``, a mapping from dotted names to lists of values.
        owner: Of the sweep, for messages.
        prefix: Put before the paths of the values.
        most: Combinations.

    Yields:
        Words such as ``eta=0.5 stop=6``, and the values with their paths and places.

    Raises:
        InvalidInputError: the sweep is no such mapping, or has too many combinations.
    """
    sweep = part.data.get("sweep", {})
    if not isinstance(sweep, Mapping) or not all(isinstance(values, list) and values for values in sweep.values()):
        raise InvalidInputError(
            f"{part.locate(('sweep',))}: {owner}, `sweep`: must map dotted names to lists of values, e.g. "
            f"`inversion.eta: [0.5, 0.9]` (got {short(sweep)})."
        )
    last = [str(path).split(".")[-1] for path in sweep]
    labels = [str(path) if last.count(name) > 1 else name for path, name in zip(sweep, last, strict=True)]
    if (count := math.prod(map(len, sweep.values()))) > most:
        raise InvalidInputError(
            f"{part.locate(('sweep',), at_key=True)}: {owner}, `sweep`: {count} combinations are more than the {most} that a "
            "study may have. Sweep fewer values, or split the study."
        )
    choices = [
        [
            Placed(tuple(f"{prefix}{path}".split(".")), value, part.locate(("sweep", path, index)))
            for index, value in enumerate(values)
        ]
        for path, values in sweep.items()
    ]
    for chosen in itertools.product(*choices):
        yield (
            " ".join(f"{label}={label_of(one.value)}" for label, one in zip(labels, chosen, strict=True)),
            list(chosen),
        )


def label_of(value: Any) -> str:
    """Return a value in a name.

    >>> label_of([{"name": "headrouter", "gamma": 0.3}, "maps"])
    'headrouter(gamma=0.3)+maps'
    """
    if isinstance(value, Mapping):
        rest = ",".join(f"{key}={label_of(each)}" for key, each in value.items() if key != "name")
        return f"{value.get('name', '')}({rest})" if rest else str(value.get("name", ""))
    return "+".join(map(label_of, value)) if isinstance(value, list) else "none" if value is None else str(value)


def short(value: Any) -> str:
    """Return a value as it is shown in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
