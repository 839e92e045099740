"""Read the components of a page into an edit: the picture and the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

from PIL import Image

from headrouter.config.configuration import validate
from headrouter.config.controls import Control, given
from headrouter.errors import InvalidInputError
from headrouter.experiments.composing import Knobs
from headrouter.imaging.picture import load_picture
from headrouter.masks.mask import Mask
from headrouter.masks.part import mask_of
from headrouter.plugins.specifications import KINDS, Kind
from headrouter_app import choices
from headrouter_app.running import Job
from headrouter_app.settings import Settings, part_from, prompts_from, seeds_from
from headrouter_app.views import drawn_mask

_APART: Final = frozenset({"seed", "negative_prompt"})
"""Knobs that settings hold by themselves."""
MOST: Final = 16
"""Edits at once."""


@final
@dataclass(frozen=True)
class Field:
    """Holds a control and the component that shows it."""

    control: Control
    component: Any


Parameters = Mapping[tuple[Kind, str], Sequence[Field]]
"""Parameters of each chosen part, by kind and name."""


@final
@dataclass(eq=False)
class Asked:
    """Holds the components by which a visitor asks for an edit.

    Attributes:
        visit, shown: State of the visitor, and the number of the edit that is shown.
        ordered: Number of edits that the visitor asked for.
        restored: Number of times that the settings or the mask of an earlier edit were put back.
        page: All of it.
        picture, source, prompts: The picture and the prompts; a model of instructions alone has no ``source``.
        references: Further reference pictures, where the model takes some.
        example: Buttons that fill in an example.
        knobs: Knobs that every edit has.
        parts: Choice of parts of each kind.
        brush: Drawing of a mask.
        run, status: The button that runs the edit, and the line below it.
    """

    visit: Any
    shown: Any
    ordered: Any = None
    restored: Any = None
    page: Any = None
    picture: Any = None
    source: Any = None
    prompts: Any = None
    references: Any = None
    example: list[Any] = field(default_factory=list)
    knobs: list[Field] = field(default_factory=list)
    parts: dict[Kind, Any] = field(default_factory=dict)
    brush: Any = None
    run: Any = None
    status: Any = None

    @property
    def texts(self) -> list[Any]:
        """Return the components of the prompts."""
        return [self.prompts] if self.source is None else [self.source, self.prompts]

    @property
    def written(self) -> list[Any]:
        """Return the components of text, numbers and choices that are there whatever parts are chosen."""
        return [*self.texts, *(one.component for one in self.knobs), *self.parts.values()]

    @property
    def pictures(self) -> list[Any]:
        """Return the components of pictures."""
        return [self.picture, self.brush, *([] if self.references is None else [self.references])]


def job_of(asked: Asked, data: Mapping[Any, Any], dials: Sequence[Field], parameters: Parameters) -> Job:
    """Return the edit that a page asks for: picture, settings, and the contents that it can show again.

    Args:
        asked: Components of the page.
        data: Content of each component.
        dials: Knobs that depend on the chosen parts.
        parameters: Parameters of these parts.

    Raises:
        InvalidInputError: what cannot be used, by name.
    """
    if data[asked.picture] is None:
        raise InvalidInputError("`picture` is not there yet. Drop one onto the page, or choose an example.")
    picture, prompts = load_picture(data[asked.picture]), prompts_from(data[asked.prompts] or "")
    instructed = choices.takes_references(data[asked.parts["inversion"]])
    if not prompts:
        raise InvalidInputError(
            "`instruction` must say what to do with the picture."
            if instructed
            else "`target prompt` must say what the picture shall show."
        )
    values = _given([*asked.knobs, *dials], data)
    seeds = seeds_from(values.pop("seed", ""))
    if len(prompts) * len(seeds) > MOST:
        raise InvalidInputError(
            f"{len(prompts)} prompts with {len(seeds)} seeds are {len(prompts) * len(seeds)} edits; the page makes {MOST} at most"
            " at once. Leave some out."
        )
    knobs = validate(Knobs, values)
    parts: dict[Kind, list[Any]] = {kind: [] for kind in KINDS}
    for (kind, name), own in parameters.items():
        parts[kind].append(part_from(kind, name, _given(own, data)))
    is_drawn = choices.is_drawn(data[asked.parts["mask"]])
    settings = Settings(
        prompts=prompts,
        source_prompt="" if instructed else (data[asked.source] or "").strip(),
        inversion=parts["inversion"][0],
        operators=tuple(parts["operator"]),
        methods=tuple(parts["method"]),
        seeds=seeds,
        negative_prompt=knobs.negative_prompt,
        mask=_painted(data[asked.brush], picture.size) if is_drawn else next(iter(parts["mask"]), None),
        references=_references(data[asked.references]) if instructed and asked.references else (),
        knobs={name: getattr(knobs, name) for name in Knobs.model_fields if name in knobs.model_fields_set - _APART},
    )
    every = [*dials, *(one for own in parameters.values() for one in own)]
    contents = {one.elem_id: data[one] for one in (*asked.written, *(one.component for one in every))}
    return Job(picture, settings, contents)


def _references(gallery: Sequence[tuple[str, Any]] | None) -> tuple[Image.Image, ...]:
    return tuple(load_picture(path) for path, _ in gallery or ())


def _painted(brush: Mapping[str, Any] | None, size: tuple[int, int]) -> Mask:
    drawn = drawn_mask((brush or {}).get("layers") or [], size)
    if drawn is None:
        raise InvalidInputError("`mask` is empty: paint where the edit may act, or choose another mask.")
    return mask_of(drawn)


def _given(fields: Sequence[Field], data: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the values that differ from their defaults."""
    return given([one.control for one in fields], {one.control.name: data[one.component] for one in fields})
