"""Validate a user's request of an edit, and settle it for a picture before any model runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, final

from PIL import Image
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from headrouter.config.configuration import validate
from headrouter.editing.assembly import name_of, refuse_misfits
from headrouter.editing.tuning import Guidance, Knobs, Only, Plan, Steps, settle
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.imaging.picture import Source, load_picture, working_size
from headrouter.masks.part import MaskPart
from headrouter.methods.method import Method
from headrouter.models.backbone import Backbone
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import VelocityOperator

__all__ = [
    "Guidance",
    "Request",
    "Seeds",
    "Settled",
    "Side",
    "Size",
    "Steps",
    "Text",
    "own_size",
    "request_of",
    "settled",
    "working_size_of",
]

LARGEST: Final = 8192**2
"""Pixels of the largest size to work at, far beyond what any model was trained for."""

Text = Annotated[str, StringConstraints(max_length=100_000)]
Side = Annotated[int, Field(ge=1, le=65_536)]
Size = tuple[Side, Side] | Literal["auto"]


def _as_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)


def _each_once(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds:
        raise ValueError("must hold a number at least")
    if len(set(seeds)) < len(seeds):
        raise ValueError("must hold each number once: a seed twice gives the same picture twice")
    return seeds


Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], BeforeValidator(_as_list), AfterValidator(_each_once)
]
"""Numbers that noise is drawn from, or one."""


class Request(Knobs):
    """Holds what is asked of a picture: prompts, knobs, noise and size.

    See :meth:`headrouter.editing.editor.Editor.edit`.
    """

    prompt: tuple[Text, ...] = Field(
        (), description="Text of the edit, or several: what the edited picture shows, or an instruction."
    )
    source_prompt: Text = Field("", description="Text that describes the picture; may be empty.")
    negative_prompt: Text = Field("", description="Text to steer away from, where the model guides in two passes.")
    seed: Seeds = Field((0,), description="Number that all noise is drawn from, or several, for an edit each.")
    size: Size = Field(
        "auto", description="Width and height to work at, or auto: the model's training area at the picture's aspect."
    )
    maps: bool = Field(True, description="Record where each word of the prompt acts.")
    mask: MaskPart | None = Field(None, description="Where the edit may act.")


@final
@dataclass(frozen=True, eq=False)
class Settled:
    """Holds a picture and what is asked of it, checked, with nothing left open.

    Attributes:
        picture: As the user gave it.
        request: Request of the user.
        plan: Plan of the run.
        size: Width and height to work at.
        references: Reference pictures beside the picture itself, as the user gave them.
    """

    picture: Image.Image
    request: Request
    plan: Plan
    size: tuple[int, int]
    references: tuple[Image.Image, ...] = ()


def request_of(**values: Any) -> Request:
    """Validate what a user asks; without ``prompt`` no edit is asked for, and noise is of one seed.

    Raises:
        InvalidInputError: naming every field that cannot be used.
    """
    if "prompt" in values:
        prompt = values["prompt"]
        texts = [prompt] if isinstance(prompt, str) else list(prompt) if isinstance(prompt, Sequence) else []
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise InvalidInputError(f"`prompt` must say what the picture shall show (got {prompt!r}).")
        values["prompt"] = texts
    asked = validate(Request, values)
    if not asked.prompt and len(asked.seed) > 1:
        raise InvalidInputError(f"`seed` must be one number here (got {list(asked.seed)}); ask once for each seed.")
    return asked


def settled(
    images: Sequence[Source],
    values: Mapping[str, Any],
    backbone: Backbone,
    inversion: Inversion,
    operators: tuple[VelocityOperator, ...],
    methods: tuple[Method, ...],
    *,
    only: Only | None = None,
    references: Sequence[Source] = (),
) -> list[Settled]:
    """Read pictures, and settle size, parts, steps and guidance of each; nothing of the model runs.

    Args:
        images: Pictures that all have the same request.
        values: The request, see :func:`request_of`.
        backbone, inversion, operators, methods: The parts, as the user gave them.
        only: Part of the run if no edits are made, see :func:`~headrouter.editing.tuning.settle`.
        references: Reference pictures beside each picture itself.

    Raises:
        HeadRouterError: what cannot be done.
    """
    request = request_of(**values)
    pictures = [load_picture(image) for image in images]
    sizes = [working_size_of(request.size, picture.size, backbone) for picture in pictures]
    plan = settle(request, inversion, methods, backbone.defaults, operators=operators, only=only, mask=request.mask)
    if plan.mask is not None:
        refuse_misfits(backbone.provides, backbone.name, [*plan.operators, *plan.methods, plan.mask])
    if plan.inversion.takes_references:
        _refuse_idle_or_large(request, plan.inversion, backbone)
    if only == "inversion" and not plan.inversion.inverts:
        raise IncompatibleError(
            f"`inversion` {name_of('inversion', plan.inversion)!r} inverts nothing, so that no latents can be kept. Choose "
            "another, such as 'rf'."
        )
    if only == "inversion" and request.negative_prompt and not plan.inversion_is_guided:
        raise IncompatibleError(
            f"`negative_prompt` {request.negative_prompt!r} would have no effect: `inversion` "
            f"{name_of('inversion', plan.inversion)!r} inverts without guidance. Give it to the edits that start from here."
        )
    further = further_references(references, plan.inversion, name_of("inversion", plan.inversion), backbone)
    return [Settled(picture, request, plan, size, further) for picture, size in zip(pictures, sizes, strict=True)]


def _refuse_idle_or_large(request: Request, inversion: Inversion, backbone: Backbone) -> None:
    """Refuse what does not go with a picture that the model is given as a reference.

    Raises:
        IncompatibleError: a source prompt, which nothing would read.
        InvalidInputError: the picture would be larger than the model takes.
    """
    if request.source_prompt:
        raise IncompatibleError(
            f"`source_prompt` {request.source_prompt!r} would have no effect: `inversion` {name_of('inversion', inversion)!r} gives"
            " the model the picture itself. Leave it out; `inversion.null_instruction` is what a source's row is asked."
        )
    size, most = request.size, backbone.largest_reference
    if size != "auto" and most and size[0] * size[1] > most:
        fitting = working_size(size, backbone.defaults.area, backbone.size_multiple)
        raise InvalidInputError(
            f"`size` {size[0]}x{size[1]} is too large for a reference picture: {backbone.name} takes {most} pixels at"
            f" most. Work at {fitting[0]}x{fitting[1]}, or leave `size` out."
        )


def working_size_of(size: Size, picture_size: tuple[int, int], backbone: Backbone) -> tuple[int, int]:
    """Return the width and height to work at, which the backbone can.

    Raises:
        InvalidInputError: it cannot, or it names no training area for ``auto``.
    """
    width, height = size = own_size(picture_size, backbone) if size == "auto" else size
    multiple = backbone.size_multiple
    if width <= 0 or height <= 0 or width % multiple or height % multiple:
        raise InvalidInputError(f"`size` must be positive multiples of {multiple} pixels, got {width}x{height}.")
    if width * height > LARGEST:
        raise InvalidInputError(
            f"`size` must hold at most {LARGEST} pixels, got {width}x{height}. Work at a smaller size."
        )
    return size


def own_size(picture_size: tuple[int, int], backbone: Backbone) -> tuple[int, int]:
    """Return the size of a backbone's training pictures at the aspect of a picture.

    Raises:
        InvalidInputError: the backbone names no training area, or the picture is too long.
    """
    area = backbone.defaults.area
    if not area:
        raise InvalidInputError(
            f"`size` 'auto' stands for the pixels that {backbone.name} was trained on, and its configuration names none. "
            "Give a width and height."
        )
    return working_size(picture_size, area, backbone.size_multiple)


def further_references(
    sources: Sequence[Source], inversion: Inversion, name: str, backbone: Backbone
) -> tuple[Image.Image, ...]:
    """Read the reference pictures that an edit is given beside the picture itself.

    Args:
        sources: The pictures, in the order in which the model is given them.
        inversion, name: The inversion, and its registered name for messages.
        backbone: The model.

    Raises:
        IncompatibleError: the inversion gives the model none.
        InvalidInputError: more than the model takes, or one that is too large or too small.
    """
    if isinstance(sources, str | bytes) or not isinstance(sources, Sequence):
        raise InvalidInputError(
            f"`references` must be a list of pictures, got {sources!r}; put a single one into a list."
        )
    if not sources:
        return ()
    if not inversion.takes_references:
        raise IncompatibleError(
            f"`references` would have no effect: `inversion` {name!r} gives the model no pictures. Leave them out, or choose"
            " 'instruct'."
        )
    if len(sources) >= backbone.most_references:
        most = backbone.most_references
        raise InvalidInputError(
            f"`references` must be {most - 1} at most: {backbone.name} takes {most} reference picture{'s' * (most > 1)}, the edited"
            f" one included, and there are {len(sources)} more. Leave some out."
        )
    return tuple(_reference(number, source, backbone) for number, source in enumerate(sources, 1))


def _reference(number: int, source: Source, backbone: Backbone) -> Image.Image:
    try:
        picture = load_picture(source)
    except InvalidInputError as error:
        raise InvalidInputError(f"`references`: picture {number}: {error}") from error
    _refuse_size_of(number, picture, backbone)
    return picture


def reference_size(picture: Image.Image, backbone: Backbone) -> tuple[int, int]:
    """Return the width and height at which a further reference picture is given: its own, in multiples that the model takes."""
    multiple = backbone.size_multiple
    width, height = (max(1, side // multiple) * multiple for side in picture.size)
    return width, height


def _refuse_size_of(number: int, picture: Image.Image, backbone: Backbone) -> None:
    width, height, most = *picture.size, backbone.largest_reference
    if most and width * height > most:
        fitting = working_size(picture.size, backbone.defaults.area, backbone.size_multiple)
        raise InvalidInputError(
            f"`references`: picture {number} is {width}x{height}, and {backbone.name} takes {most} pixels at most. Resize it to"
            f" {fitting[0]}x{fitting[1]}."
        )
    if min(picture.size) < backbone.size_multiple:
        raise InvalidInputError(
            f"`references`: picture {number} is {width}x{height}, and a side must have {backbone.size_multiple} pixels at least."
            " Enlarge it."
        )
