"""Read the components of a page into the picture and the settings of an edit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

from PIL import Image

from headrouter.config.configuration import validate
from headrouter.config.controls import Control, given
from headrouter.errors import InvalidInputError
from headrouter.experiments.composing import Knobs
from headrouter.imaging.picture import load_picture
from headrouter.plugins.specifications import Kind
from headrouter_app import choices
from headrouter_app.settings import Settings, mask_from, part_from, prompts_from
from headrouter_app.views import drawn_mask
from headrouter_app.widgets import content

Parameters = Mapping[tuple[Kind, str], Mapping[str, Any]]
"""Components of the parameters of each chosen part, by kind and name."""
PRESET: Final = Control("preset", "choice", optional=True)
_APART: Final = frozenset({"seed", "negative_prompt"})


@final
@dataclass(eq=False)
class Asked:
    """Holds the components by which a visitor asks for an edit.

    Attributes:
        visit, shown: State of the visitor, and the number of the edit that is shown.
        picture, source, prompts: The picture and the prompts; a model of instructions has no ``source``.
        knobs: Components of the knobs that every edit has, by name.
        parts: Choice of parts of each kind.
        brush: Drawing of a mask.
        run, status: The button that runs the edit, and the line below it.
    """

    visit: Any
    shown: Any
    picture: Any = None
    source: Any = None
    prompts: Any = None
    knobs: dict[str, Any] = field(default_factory=dict)
    parts: dict[Kind, Any] = field(default_factory=dict)
    brush: Any = None
    run: Any = None
    status: Any = None

    @property
    def texts(self) -> list[Any]:
        """Return the components of the prompts."""
        return [self.prompts] if self.source is None else [self.source, self.prompts]

    @property
    def everywhere(self) -> list[Any]:
        """Return the components that are there whatever parts are chosen."""
        return [self.visit, self.picture, *self.texts, *self.knobs.values(), *self.parts.values(), self.brush]


def settings_of(
    asked: Asked, data: Mapping[Any, Any], dials: Mapping[str, Any], parameters: Parameters
) -> tuple[Image.Image, Settings]:
    """Return the picture and the settings that a page holds.

    Args:
        asked: Components of the page.
        data: Content of each component.
        dials: Components of the knobs that the chosen parts have, by name.
        parameters: Components of their parameters.

    Raises:
        InvalidInputError: what cannot be used, by name.
    """
    if data[asked.picture] is None:
        raise InvalidInputError("`picture` is not there yet. Drop one onto the page, or choose an example.")
    picture, prompts = load_picture(data[asked.picture]), prompts_from(data[asked.prompts] or "")
    if not prompts:
        raise InvalidInputError("`target prompt` must say what the picture shall show.")
    known = [*choices.knobs(), *choices.dials([key for key in parameters if key[0] != "mask"]), PRESET]
    checked = validate(Knobs, _given(known, {**asked.knobs, **dials}, data))
    parts = {key: part_from(*key, _values(key, own, data)) for key, own in parameters.items() if key[0] != "mask"}
    return picture, Settings(
        prompts=prompts,
        source_prompt="" if asked.source is None else (data[asked.source] or "").strip(),
        inversion=next(part for (kind, _), part in parts.items() if kind == "inversion"),
        operators=tuple(part for (kind, _), part in parts.items() if kind == "operator"),
        methods=tuple(part for (kind, _), part in parts.items() if kind == "method"),
        seed=checked.seed,
        negative_prompt=checked.negative_prompt,
        mask=_mask(asked, data, picture, parameters),
        knobs={name: getattr(checked, name) for name in checked.model_fields_set - _APART},
    )


def _mask(asked: Asked, data: Mapping[Any, Any], picture: Image.Image, parameters: Parameters) -> Any:
    name = data[asked.parts["mask"]]
    if choices.is_none(name):
        return None
    if not choices.is_drawn(name):
        return mask_from(name, _values(("mask", name), parameters.get(("mask", name), {}), data))
    painted = data[asked.brush] or {}
    drawn = drawn_mask(painted.get("layers") or [], picture.size)
    if drawn is None:
        raise InvalidInputError("`mask` is empty: paint where the edit may act, or choose another mask.")
    return mask_from(name, {}, drawn)


def _values(key: tuple[Kind, str], own: Mapping[str, Any], data: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the parameters of a part that differ from their defaults."""
    return _given(choices.controls(*key), own, data)


def _given(controls: Sequence[Control], own: Mapping[str, Any], data: Mapping[Any, Any]) -> dict[str, Any]:
    return given(controls, {one.name: content(one, data[own[one.name]]) for one in controls if one.name in own})
