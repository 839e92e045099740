"""Change one value of a configuration from the command line: ``--set a.b=c``."""

from collections.abc import Iterable

from headrouter.config.configuration import Override
from headrouter.config.yaml_document import parse_yaml
from headrouter.errors import InvalidInputError


def parse_overrides(texts: Iterable[str]) -> list[Override]:
    """Read the arguments of ``--set``, in order; a later one wins.

    The value is YAML, so ``0.3``, ``true``, ``null``, ``dog`` and ``[1, 2]`` are what they look like. A number in the
    path is a position in a list.

    >>> parse_overrides(["method.gamma=1e-3", "method.layers=[0, 2]"])
    [Override(path=('method', 'gamma'), value=0.001), Override(path=('method', 'layers'), value=[0, 2])]
    """
    return [_parse(text) for text in texts]


def _parse(text: str) -> Override:
    path, equals, value = text.partition("=")
    parts = path.strip().split(".")
    if not equals or not all(part and part == part.strip() for part in parts):
        raise InvalidInputError(f"`--set` takes NAME=VALUE with a dotted name, e.g. method.gamma=0.3 (got {text!r}).")
    return Override(tuple(parts), parse_yaml(value, f"--set {text}").data)
