"""Read a mask from whatever a user gives: a name, a small expression, a mapping, a picture, or an object.

>>> described(mask_of("words & grow(attention, 0.1)"))
{'name': 'intersection', 'of': [{'name': 'words'}, {'name': 'grow', 'of': {'name': 'attention'}, 'by': 0.1}]}
"""

import ast
import os
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from headrouter.config.configuration import validate
from headrouter.config.controls import MASK
from headrouter.errors import HeadRouterError, InvalidInputError, UnknownNameError
from headrouter.files import path_of
from headrouter.masks.mask import Mask
from headrouter.masks.picture import PictureMask, read_picture
from headrouter.plugins import registry
from headrouter.plugins.specifications import ComponentSpec

_EXPRESSION = (ast.BinOp, ast.UnaryOp, ast.Name, ast.Call)
_SIGNS: Mapping[str, str] = {"|": "union", "&": "intersection", "~": "complement"}
_OPERATORS: Mapping[type[ast.AST], str] = dict(zip((ast.BitOr, ast.BitAnd, ast.Invert), _SIGNS.values(), strict=True))


def mask_of(value: Any) -> Mask:
    """Return the mask that a value stands for.

    Args:
        value: A mask; the name of a registered one; an expression of names, ``|``, ``&``, ``~`` and parts with parameters, such as
            ``"words & grow(velocity(form='short'), 0.1)"``; a mapping of ``name`` and parameters; or a picture, see
            :class:`~headrouter.masks.picture.PictureMask`; or a function that segments a picture.

    Raises:
        InvalidInputError: it is none of these.
        UnknownNameError: no mask of that name is installed.
    """
    if isinstance(value, Mask):
        return value
    if isinstance(value, Mapping):
        values = dict(value)
        if "class" in values:
            raise InvalidInputError(
                f"`mask` was made with the class {values['class']!r}, which no installed plug-in registers, so that it cannot "
                "be made by "
                "name. Register it in a plug-in, by `register_masks`."
            )
        name = values.pop("name", None)
        if not isinstance(name, str):
            raise InvalidInputError(f"`mask` must have a `name` beside its parameters (got {value!r}).")
        return _made(name, values)
    if isinstance(value, str) and (tree := _tree(value)) is not None:
        return _of_text(value, tree)
    if isinstance(value, str | bytes | os.PathLike | Image.Image | np.ndarray):
        return _made("picture", {"picture": value})
    if callable(value):
        return _made("segmentation", {"function": value})
    raise InvalidInputError(
        "`mask` must be a name, an expression such as 'words | velocity', a picture, an array, a function or a Mask object "
        f"(got {type(value).__name__})."
    )


def described(mask: Mask) -> dict[str, Any]:
    """Return a mask as plain data: its name and parameters.

    Raises:
        InvalidInputError: no plug-in registers its class.
    """
    target = f"{type(mask).__module__}:{type(mask).__qualname__}"
    for entry in registry().entries("mask"):
        if isinstance(entry.item, ComponentSpec) and entry.item.target == target:
            return {"name": entry.shortest_name, **mask.model_dump(mode="json", exclude_defaults=True)}
    return {"class": target, **mask.model_dump(mode="json", exclude_defaults=True)}


def expression_of(mask: Mask) -> str:
    """Return a mask as the expression that :func:`mask_of` reads it from.

    >>> expression_of(mask_of("words(theta=0.2) & grow(~attention, by=0.1) | velocity"))
    '((words(theta=0.2) & grow(of=~attention, by=0.1)) | velocity)'

    Raises:
        InvalidInputError: no plug-in registers its class, or under a name that an expression cannot have.
    """
    plain = described(mask)
    if "class" in plain:
        raise InvalidInputError(
            f"`mask` {plain['class']!r} has no name, so that no expression has it. Register it in a plug-in."
        )
    return _written(plain)


def _word(name: str) -> str:
    """Return the name of a mask as an expression has it: without its distribution, and ``_`` for ``-``."""
    word = name.rpartition(":")[2].replace("-", "_")
    if not word.isidentifier() or mask_class(word) is not mask_class(name):
        raise InvalidInputError(
            f"`mask` {name!r} cannot be written in an expression: {word!r} is no word, or another mask has it. Give it as a "
            "mapping of `name` and parameters."
        )
    return word


def _written(plain: Mapping[str, Any]) -> str:
    values = {name: value for name, value in plain.items() if name != "name"}
    sign, inside = {name: sign for sign, name in _SIGNS.items()}.get(plain["name"]), values.get("of")
    if sign == "~" and len(values) == 1 and isinstance(inside, Mapping):
        return f"~{_written(inside)}"
    if sign and len(values) == 1 and isinstance(inside, list) and len(inside) > 1:
        return f"({f' {sign} '.join(map(_written, inside))})"
    given = ", ".join(
        f"{name}={_written(value) if isinstance(value, Mapping) and 'name' in value else repr(value)}"
        for name, value in values.items()
    )
    word = _word(plain["name"])
    return f"{word}({given})" if given else word


def mask_class(name: str) -> type[Mask]:
    """Return the class of masks that a name stands for."""
    spec = registry().entry("mask", name).item
    assert isinstance(spec, ComponentSpec)
    found: type[Mask] = spec.load()
    return found


def _made(name: str, values: Mapping[str, Any]) -> Mask:
    found = mask_class(name)
    return validate(found, read_picture(values) if found is PictureMask else values, prefix="mask.")


def _tree(text: str) -> ast.expr | None:
    """Return the expression that a text is, None for what can only be the name of a file."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        if any(sign in text for sign in "|&~(") and not _is_file(text):
            raise _unreadable(text) from None
        return None
    return tree if isinstance(tree, _EXPRESSION) else None


def _is_file(text: str) -> bool:
    try:
        return path_of(text, "mask").is_file()
    except InvalidInputError:  # too long to be a name
        return False


def _of_text(text: str, tree: ast.expr) -> Mask:
    alone = isinstance(tree, ast.Name)
    is_file = _is_file(text)
    try:
        found = _evaluated(tree, text)
    except UnknownNameError as error:
        if is_file:
            return _made("picture", {"picture": text})
        file = f" There is no file '{text}' either." if alone else ""
        raise UnknownNameError(f"`mask`: {error}{file}") from error
    if is_file:
        raise InvalidInputError(
            f"`mask` {text!r} is the name of a mask and of a file. Which is meant? Write './{text}' for the file, or rename it."
        )
    return found


def _evaluated(tree: ast.expr, text: str) -> Mask:
    """Return the mask of an expression: names, operators, and calls with literal parameters or masks in them."""
    if isinstance(tree, ast.Name):
        return _made(tree.id, {})
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        parts = [_evaluated(tree.left, text), _evaluated(tree.right, text)]
        return _made(_OPERATORS[type(tree.op)], {"of": parts})
    if isinstance(tree, ast.UnaryOp) and type(tree.op) in _OPERATORS:
        return _made(_OPERATORS[type(tree.op)], {"of": _evaluated(tree.operand, text)})
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        fields = list(mask_class(tree.func.id).model_fields)
        if len(tree.args) <= len(fields) and all(keyword.arg for keyword in tree.keywords):
            given = dict(zip(fields, tree.args, strict=False))
            given |= {str(keyword.arg): keyword.value for keyword in tree.keywords}
            return _made(tree.func.id, {name: _argument(value, text) for name, value in given.items()})
    raise _unreadable(text)


def _argument(tree: ast.expr, text: str) -> Any:
    try:
        return ast.literal_eval(tree)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _evaluated(tree, text)


def _unreadable(text: str) -> InvalidInputError:
    return InvalidInputError(
        f"`mask` {text!r} cannot be read: join masks by '|' (union), '&' (intersection) and '~' (complement), and give parameters "
        "in parentheses, as in 'words & grow(velocity, 0.1)'."
    )


def _validated(value: Any) -> Mask:
    try:
        return mask_of(value)
    except HeadRouterError as error:
        raise ValueError(str(error).removeprefix("`mask`: ").removeprefix("`mask` ")) from error


MaskPart = Annotated[
    Mask,
    BeforeValidator(_validated),
    PlainSerializer(described),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "string",
                    "format": MASK,
                    "description": "Name, expression such as 'words | velocity', or file of a mask.",
                },
                {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            ]
        }
    ),
]
"""A mask as a parameter of another part, held as an object and written as plain data."""
