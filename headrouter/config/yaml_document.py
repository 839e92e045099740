"""Read YAML in which every value knows its line and column.

The rules are those of YAML 1.2: ``on`` and ``no`` are words, ``1e-3`` is a number, ``1:30`` and dates are text. A key
given twice in one mapping is an error.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from headrouter.errors import InvalidInputError

LARGEST: Final = 100_000
"""Values in a document, each alias counted as all that it stands for."""

_RULES: Final = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN"),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("tag:yaml.org,2002:float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+0123456789."),
    ("tag:yaml.org,2002:float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("tag:yaml.org,2002:merge", r"<<", "<"),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (the base class's attribute)

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {key.value!r} is there twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return node


for _tag, _pattern, _first in _RULES:
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])


@dataclass(frozen=True, slots=True)
class Document:
    """Holds parsed YAML.

    Args:
        data: the value.
        name: of the file, for messages.
        node: the syntax tree, or None for an empty document.
        replaced: paths whose values come from elsewhere, with the place of each, such as an option.
    """

    data: Any
    name: str
    node: yaml.Node | None = None
    replaced: tuple[tuple[tuple[str, ...], str], ...] = ()

    def locate(self, path: tuple[str | int, ...], *, at_key: bool = False) -> str:
        """Return ``file:line:column`` of the value at ``path``, or its key, or the nearest thing around it.

        >>> parse_yaml("a:\\n  b: [1, 2]", "x.yaml").locate(("a", "b", 1))
        'x.yaml:2:10'
        """
        texts = tuple(map(str, path))
        for replaced, origin in reversed(self.replaced):
            if texts[: len(replaced)] == replaced:
                return origin
        node = place = self.node
        for part in path:
            key, value = _child(node, part)
            if value is None:
                break
            node, place = value, (key if at_key and key is not None else value)
        if place is None:
            return self.name
        return f"{self.name}:{place.start_mark.line + 1}:{place.start_mark.column + 1}"

    def at(self, *path: str | int) -> "Document":
        """Return the part at ``path``, a document of its own whose values know their places all the same.

        >>> parse_yaml("a:\\n  b: [1, 2]", "x.yaml").at("a", "b").locate((1,))
        'x.yaml:2:10'
        """
        data, node = self.data, self.node
        for part in path:
            data, node = data[part], _child(node, part)[1]
        texts = tuple(map(str, path))
        around = [(whole, origin) for whole, origin in self.replaced if texts[: len(whole)] == whole]
        within = [
            (whole, origin) for whole, origin in self.replaced if len(whole) > len(texts) == _shared(whole, texts)
        ]
        replaced = (
            *(((), origin) for _, origin in around),
            *((whole[len(texts) :], origin) for whole, origin in within),
        )
        return Document(data, self.name, node, replaced)


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    return next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(other))


def read_yaml(path: str | Path) -> Document:
    """Read a YAML file; :class:`InvalidInputError` when it is not there, a device or a pipe, not text or not YAML."""
    place = Path(path)
    if place.exists() and not (place.is_file() or place.is_dir()):
        raise InvalidInputError(f"cannot read '{path}': it is a device or a pipe. Give a file.")
    try:
        text = place.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInputError(f"cannot read '{path}': {reason}.") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Document:
    """Parse YAML; ``name`` stands for the file in messages."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            _refuse_bombs(node, {})
            data = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise InvalidInputError(f"{place}: not valid YAML: {error.problem or error.context}.") from error
    except RecursionError as error:
        raise InvalidInputError(f"{name}: not valid YAML: it is nested too deeply.") from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:  # the last four: odd tags
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InvalidInputError(f"{name}: not valid YAML: {reason}.") from error
    return Document(data, name, node)


def _refuse_bombs(node: yaml.Node | None, sizes: dict[int, int]) -> int:
    """Return the number of nodes below a node, each alias counted as all that it stands for."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in sizes:
        sizes[id(node)] = LARGEST + 1  # for a node below itself
        below = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
        sizes[id(node)] = size = 1 + sum(_refuse_bombs(part, sizes) for part in below)
        if size > LARGEST:
            problem = f"it stands for more than {LARGEST} values, or for itself"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return sizes[id(node)]


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):  # what `<<` merges comes first, and is overruled
            if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                return key, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return None, node.value[part]
    return None, None
