"""Read parts and request of an edit from a page, and refuse values that reach out to the machine."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from PIL import Image

from headrouter.config.configuration import validate
from headrouter.editing.assembly import part_class
from headrouter.editing.request import request_of
from headrouter.errors import InvalidInputError
from headrouter.masks.mask import Mask
from headrouter.methods.method import Method
from headrouter.plugins.specifications import Kind
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import VelocityOperator

Values = Mapping[str, Any]
_DIGITS: Final = 20
_CODE: Final = re.compile(r"[\w.]+:[\w.]+")


@final
@dataclass(frozen=True)
class Settings:
    """Holds all that an edit on the page depends on, beside the model and the picture.

    Attributes:
        prompts: Target prompts, or instructions.
        inversion, operators, methods: The parts, with the parameters that are not at their defaults.
        source_prompt, negative_prompt: The other prompts.
        seeds: Of all noise; each prompt is edited with each.
        mask: Where the edit may act.
        references: Reference pictures beside the edited one.
        knobs: Knobs that were given, by name, as of :meth:`headrouter.editing.editor.Editor.edit`.
    """

    prompts: tuple[str, ...]
    inversion: Inversion
    operators: tuple[VelocityOperator, ...] = ()
    methods: tuple[Method, ...] = ()
    source_prompt: str = ""
    negative_prompt: str = ""
    seeds: tuple[int, ...] = (0,)
    mask: Mask | None = None
    references: tuple[Image.Image, ...] = ()
    knobs: Values = field(default_factory=dict)

    @property
    def request(self) -> dict[str, Any]:
        """Return the request as keywords of :meth:`headrouter.editing.editor.Editor.edit`."""
        asked = {
            "prompt": list(self.prompts),
            "source_prompt": self.source_prompt,
            "negative_prompt": self.negative_prompt,
        }
        seed = list(self.seeds) if len(self.seeds) > 1 else self.seeds[0]
        return {**asked, "seed": seed, **self.knobs, "mask": self.mask, "references": list(self.references)}


def part_from(kind: Kind, name: str, values: Values) -> Any:
    """Return a part by name and parameters from a page.

    Raises:
        InvalidInputError: parameters that it does not take, or that name a file or code of this machine.
    """
    for parameter, value in values.items():
        refuse_reaching_out(f"{name}.{parameter}", value)
    return validate(part_class(kind, name), values, prefix=f"{name}.")


def prompts_from(text: str) -> tuple[str, ...]:
    """Return the prompts of a text, one a line.

    >>> prompts_from(" a red star \\n\\na blue star")
    ('a red star', 'a blue star')
    """
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def seeds_from(text: str) -> tuple[int, ...]:
    """Return the seeds of a text, several apart by commas or blanks; 0 of an empty one.

    >>> seeds_from("3"), seeds_from("0, 1 2"), seeds_from(" ")
    ((3,), (0, 1, 2), (0,))

    Raises:
        InvalidInputError: they are no whole numbers from 0, or one is there twice.
    """
    words = re.split(r"[,;\s]+", text.strip())
    if not text.strip():
        return (0,)
    if not all(word.isdecimal() and len(word) < _DIGITS for word in words):
        raise InvalidInputError(f"`seed` must be a whole number from 0, or several such as 0, 1, 2 (got {text!r}).")
    return request_of(prompt="any", seed=[int(word) for word in words]).seed


def refuse_reaching_out(name: str, value: Any) -> None:
    """Refuse text that names a file or a function of this machine, in a value or anywhere inside it.

    A part may read files and import functions that its parameters name; whoever runs a command may ask for that, a visitor of a
    page not.

    Raises:
        InvalidInputError: it does.
    """
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple | set):
        for one in value:
            refuse_reaching_out(name, one)
    elif isinstance(value, str) and any(map(_reaches_out, (value, *_texts_within(value)))):
        raise InvalidInputError(
            f"`{name}` names a file or a function of this machine, which the page does not read (got {value!r}). Use the command"
            " line for that."
        )


def _reaches_out(text: str) -> bool:
    if "/" in text or "\\" in text or _CODE.fullmatch(text) or text.startswith("data:"):
        return True
    try:
        return bool(text.strip()) and Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or with a zero in it
        return False


def _texts_within(text: str) -> list[str]:
    """Return the texts in quotes of an expression, such as that of a mask."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
