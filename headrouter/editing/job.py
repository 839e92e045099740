"""Prepare one picture for one run: the request, settled and checked before the model runs."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Literal, final

from PIL import Image

from headrouter.attention.rows import Row
from headrouter.editing.assembly import changed, name_of
from headrouter.editing.request import Request
from headrouter.editing.tuning import field_of, with_knob, with_preset
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.imaging.picture import Source, load_picture, to_tensor, working_size
from headrouter.methods.method import Method
from headrouter.models.backbone import Backbone
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.guidance import refuse_idle_prompts
from headrouter.sampling.inversion import Inversion, RunInputs
from headrouter.sampling.noise import Noise

_LARGEST = 8192**2
"""Pixels of the largest size to work at, far beyond what any model was trained for."""


@final
@dataclass(frozen=True, eq=False)
class Job:
    """Holds one picture, prepared for one run.

    Attributes:
        picture: As the user gave it; ``size`` is the width and height to work at.
        inversion, methods, steps, guidance, seed: With presets and knobs applied and defaults filled in.
        source, targets, negative, empty: Prompts, encoded.
        inputs: What the inversion starts from.
    """

    picture: Image.Image
    size: tuple[int, int]
    inversion: Inversion
    methods: tuple[Method, ...]
    steps: int
    guidance: float
    seed: int
    source: Prompt
    targets: tuple[Prompt, ...]
    negative: Prompt
    empty: Prompt
    inputs: RunInputs

    def rows(self, targets: Sequence[Prompt]) -> list[Row]:
        """Return the source's row and a row for each of ``targets``."""
        guide = self.inversion.sampling_guidance
        edits = [Row(prompt, self.negative, guide(False, self.guidance), edit=n) for n, prompt in enumerate(targets)]
        return [Row(self.source, self.negative, guide(True, self.guidance)), *edits]

    def inversion_rows(self) -> list[Row]:
        """Return the row that the inversion runs on."""
        sees = self.inversion.inversion_prompt == "source"
        prompts = (self.source, self.negative) if sees else (self.empty, self.empty)
        return [Row(*prompts, self.inversion.inversion_guidance)]

    def at_seed(self, seed: int) -> "Job":
        """Return the job with noise of another seed."""
        source = self.inputs.source
        channels, rows, columns = source.shape[1:]
        noise = Noise([seed], (channels, rows, columns), source.device)
        return replace(self, seed=seed, inputs=replace(self.inputs, noise=noise))


def prepare(
    image: Source,
    asked: Request,
    backbone: Backbone,
    inversion: Inversion,
    methods: tuple[Method, ...],
    *,
    samples: bool = True,
) -> Job:
    """Apply preset, knobs and defaults, check them, and encode prompts and picture; the transformer does not run.

    Args:
        samples: Whether there is sampling, and not an inversion alone.

    Raises:
        HeadRouterError: what cannot be done.
    """
    picture = load_picture(image)
    defaults = backbone.defaults
    width, height = size = checked_size(
        own_size(picture.size, backbone) if asked.size == "auto" else asked.size, backbone
    )
    inversion = inversion if asked.steps is None else changed(inversion, {"steps": asked.steps})
    steps, given = inversion.steps or defaults.steps, inversion
    if asked.preset is not None:
        inversion, methods = with_preset(asked.preset, inversion, methods, steps)
        _refuse_idle("preset", asked, inversion.model_fields_set - given.model_fields_set, inversion, samples)
    inversion, methods = with_knob("keep", asked.keep, inversion, methods)
    if asked.keep is not None:
        _refuse_idle("keep", asked, {field_of("keep", inversion)}, inversion, samples)
    inversion, methods = with_knob("push", asked.push, inversion, methods)
    inversion.sampling_steps(steps)  # refuses what cannot be met, before a model runs
    wishes = (asked.guidance, inversion.guidance, defaults.guidance)
    guidance = next(wish for wish in wishes if wish is not None)
    if len(asked.seed) > 1 and not inversion.seeded:
        raise IncompatibleError(
            f"`seed` {list(asked.seed)} would give one and the same picture: `inversion` {name_of('inversion', inversion)!r} "
            "with these parameters draws no noise. Give one seed, or choose an inversion that draws noise."
        )
    if samples:
        refuse_idle_prompts(backbone, inversion.sampling_guidance(False, guidance), asked.negative_prompt)
    elif asked.negative_prompt and not is_guided(inversion):
        raise IncompatibleError(
            f"`negative_prompt` {asked.negative_prompt!r} would have no effect: `inversion` {name_of('inversion', inversion)!r}"
            " inverts without guidance. Give it to the edits that start from here."
        )
    texts = [asked.source_prompt, *asked.prompt, asked.negative_prompt, ""]
    source, *targets, negative, empty = backbone.encode_prompts(texts)
    latents = backbone.encode_image(to_tensor(picture, size).to(backbone.device))
    noise = Noise([asked.seed[0]], backbone.latent_shape(width, height), backbone.device)
    inputs = RunInputs(grid(backbone, steps, size), latents, noise, size=picture.size)
    rest = (source, tuple(targets), negative, empty, inputs)
    return Job(picture, size, inversion, methods, steps, guidance, asked.seed[0], *rest)


def _refuse_idle(
    option: Literal["preset", "keep"], asked: Request, fields: Set[str | None], inversion: Inversion, samples: bool
) -> None:
    """Refuse an option that sets nothing which a run without edits depends on.

    Args:
        fields: Those of the inversion that the option sets.
        samples: Whether there is sampling.

    Raises:
        IncompatibleError: it would have no effect.
    """
    acting = type(inversion).model_fields if samples else inversion.inversion_parameters
    if not asked.prompt and (samples or inversion.inverts) and fields.isdisjoint(acting):
        does = "is sampled without it" if samples else "inverts without it"
        raise IncompatibleError(
            f"`{option}` {getattr(asked, option)!r} would have no effect: `inversion` {name_of('inversion', inversion)!r} {does}."
            " Give it to the edits."
        )


def is_guided(inversion: Inversion) -> bool:
    """Return whether the inversion evaluates the negative prompt."""
    return inversion.inversion_prompt == "source" and inversion.inversion_guidance != 1


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


def checked_size(size: tuple[int, int], backbone: Backbone) -> tuple[int, int]:
    """Return a width and height that the backbone can work at."""
    width, height = size
    multiple = backbone.size_multiple
    if width <= 0 or height <= 0 or width % multiple or height % multiple:
        raise InvalidInputError(f"`size` must be positive multiples of {multiple} pixels, got {width}x{height}.")
    if width * height > _LARGEST:
        raise InvalidInputError(
            f"`size` must hold at most {_LARGEST} pixels, got {width}x{height}. Work at a smaller size."
        )
    return size


def grid(backbone: Backbone, steps: int, size: tuple[int, int]) -> tuple[float, ...]:
    """Return the backbone's noise levels for a number of steps at a size, as numbers."""
    return tuple(backbone.sigmas(steps, *size).tolist())
