"""Define the record of an edit: one value with all that decided the picture; saved, hashed, and replayed."""

import hashlib
import json
import reprlib
import warnings
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, final

from PIL import Image
from pydantic import AfterValidator, ConfigDict, Field, field_serializer, model_validator
from typing_extensions import Self

from headrouter.config.configuration import Parameters, validate
from headrouter.editing.assembly import class_of, registered_under
from headrouter.editing.request import Guidance, Seeds, Settled, Side, Steps, Text
from headrouter.editing.tuning import Plan, Strength
from headrouter.masks.mask import Mask
from headrouter.masks.part import described
from headrouter.models.backbone import Backbone
from headrouter.plugins.code import LIBRARIES, Code, code_of
from headrouter.plugins.specifications import Kind

FORMAT: Final = 4
"""Of the plain data that is written; earlier ones are read, see :mod:`headrouter.editing.record_file`."""
SOURCE: Final = "source.png"
_UNHASHED: Final[Any] = {
    "backbone": {"model", "pipeline", "device", "offload"},
    "source": {"file"},
    "references": {"__all__": {"file"}},
    "preset": True,
    "max_rows": True,
}
"""Where weights and pictures are, what concerns the machine alone, and a preset, whose values the parts have."""
_OF_THE_WEIGHTS: Final = frozenset({"device", "dtype", "offload", "variant", "base", "quantize"})
"""Parameters of backbones that the fingerprint covers already, or that concern the machine alone."""


class Part(Parameters):
    """Names a part, or its class if no plug-in registers it, with its parameters."""

    model_config = ConfigDict(extra="allow")

    name: str | None
    unregistered: str | None = Field(None, alias="class")

    @classmethod
    def of(cls, kind: Kind, part: Parameters, values: Mapping[str, Any] | None = None) -> Self:
        """Describe a part, with all its parameters or these ``values`` alone."""
        name = registered_under(kind, class_of(part))
        values = part.model_dump(mode="json") if values is None else values
        return cls.model_validate({"name": name, **({} if name else {"class": class_of(part)}), **values})

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        try:
            json.dumps(self.model_dump(mode="json"))
        except (ValueError, RecursionError) as error:
            raise ValueError("parameters must be plain data that is not nested too deeply") from error
        return self

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the part's parameters."""
        return dict(self.model_extra or {})


class Loaded(Part):
    """Describes a backbone and the place of its weights; objects and given pipelines have none."""

    model: str | None
    pipeline: bool = False


class Edit(Parameters):
    """Holds the request of a run, with presets, knobs and defaults applied; ``prompt`` is empty without an edit."""

    source_prompt: Text
    prompt: tuple[Text, ...]
    negative_prompt: Text
    guidance: Guidance
    steps: Steps
    seed: Seeds
    size: tuple[Side, Side]
    maps: bool
    mask: dict[str, Any] | None = None
    paste: bool = False
    feather: float | None = None
    strength: Strength | None = None

    @field_serializer("seed")
    def _one_as_a_number(self, seed: tuple[int, ...]) -> int | list[int]:
        return seed[0] if len(seed) == 1 else list(seed)


def _beside(name: str) -> str:
    if name in ("", ".", "..") or any(sign in name for sign in "/\\:\0"):
        raise ValueError("must be the name of a file beside the record")
    return name


class Picture(Parameters):
    """Describes the picture that was edited: its file beside the record, and its hash."""

    file: Annotated[str, AfterValidator(_beside)] = SOURCE
    sha256: str


@final
class Record(Parameters):
    """Holds all that an edit depends on.

    Attributes:
        backbone, inversion, operators, methods: The parts, with presets and knobs applied.
        weights: Fingerprint of what the backbone holds; empty if the record does not say.
        edit, source: Prompts, numbers and picture; without prompts and picture, the record says how edits are made.
        references: Reference pictures beside the picture itself; left out of file and hash where there are none.
        code: Versions and hashes of the code that computed it.
        preset: Preset that values of the parts are from.
        max_rows: Most rows in one model call.
    """

    model_config = ConfigDict(extra="ignore")

    source: Picture | None
    backbone: Loaded
    weights: str
    inversion: Part
    operators: tuple[Part, ...] = ()
    methods: tuple[Part, ...]
    edit: Edit
    references: tuple[Picture, ...] = ()
    preset: str | None = None
    max_rows: int | None = Field(ge=2)
    code: dict[str, Code]

    @classmethod
    def of_plan(
        cls,
        plan: Plan,
        backbone: Mapping[str, Any],
        weights: str,
        edit: Mapping[str, Any],
        code: Iterable[object],
        **rest: Any,
    ) -> Self:
        """Record how edits are made.

        Args:
            plan: Parts, steps and guidance.
            backbone: The fields of :class:`Loaded`.
            weights: Its fingerprint.
            edit: ``seed``, ``size``, and the other fields of :class:`Edit` that are known.
            code: Objects whose code takes part, beside that of inversion and methods.
            rest: Further fields of the record.
        """
        unknown = {"source_prompt": "", "prompt": (), "negative_prompt": "", "maps": False}
        mask = {} if plan.mask is None else {"mask": described(plan.mask)}
        pasting = {"paste": True, "feather": plan.feather} if plan.paste else {}
        strength = {} if plan.strength is None else {"strength": plan.strength}
        values = {
            "source": None,
            "backbone": backbone,
            "weights": weights,
            "inversion": Part.of("inversion", plan.inversion),
            "operators": [Part.of("operator", operator) for operator in plan.operators],
            "methods": [Part.of("method", method) for method in plan.methods],
            "edit": {**unknown, "guidance": plan.guidance, "steps": plan.steps, **mask, **pasting, **strength, **edit},
            "max_rows": None,
            "code": code_of((plan.inversion, *plan.operators, *plan.methods, *masks_of(plan), *code)),
        }
        return validate(cls, {**values, **rest})

    @classmethod
    def of(
        cls, given: Settled, backbone: Backbone, loaded: Mapping[str, Any], weights: str, max_rows: int | None
    ) -> Self:
        """Record an edit.

        Args:
            given: The settled request.
            backbone, loaded: The model, and how it was loaded.
            weights: Its fingerprint.
            max_rows: Most rows in one model call.
        """
        asked = given.request
        edit = asked.model_dump(include={"source_prompt", "prompt", "negative_prompt", "seed", "maps"})
        rest: dict[str, Any] = {
            "source": {"sha256": picture_hash(given.picture)},
            "preset": asked.preset,
            "max_rows": max_rows,
        }
        if given.references:
            hashes = [picture_hash(picture) for picture in given.references]
            rest["references"] = [{"file": reference_file(n), "sha256": one} for n, one in enumerate(hashes, 1)]
        known = {**loaded, **backbone.settings}
        return cls.of_plan(given.plan, known, weights, {**edit, "size": given.size}, (backbone,), **rest)

    @classmethod
    def of_inversion(
        cls, given: Settled, seed: int, backbone: Backbone, loaded: Mapping[str, Any], weights: str
    ) -> Self:
        """Record all that the inversion of a picture depends on, and nothing else, so that one serves many edits."""
        asked, plan, inversion = given.request, given.plan, given.plan.inversion
        known = {name: value for name, value in {**loaded, **backbone.settings}.items() if name not in _OF_THE_WEIGHTS}
        known |= {"name": None, "class": type(backbone).__name__, "model": None}
        edit = {
            "source_prompt": asked.source_prompt if inversion.inversion_prompt == "source" else "",
            "negative_prompt": asked.negative_prompt if plan.inversion_is_guided else "",
            "seed": seed if "invert" in inversion.seeded else 0,
            "size": given.size,
        }
        alone = Plan(inversion, (), plan.steps, inversion.inversion_guidance, plan.inverting_operators)
        source = picture_hash(given.picture)
        record = cls.of_plan(alone, known, weights, edit, (backbone,), source={"sha256": source})
        code = {name: value for name, value in record.code.items() if name not in LIBRARIES}
        parameters = Part.of("inversion", inversion, inversion.inversion_parameters)
        return record.model_copy(update={"inversion": parameters, "code": code})

    @property
    def hash(self) -> str:
        """Return the SHA-256 of all that decides the picture, 16 hexadecimal digits."""
        decides = self.model_dump(mode="json", by_alias=True, exclude=_UNHASHED)
        if not self.references:
            del decides["references"]
        if self.edit.strength is None:
            del decides["edit"]["strength"]  # so that edits of before it have the hash that they had
        text = json.dumps({"format": FORMAT, **decides}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def plain(self) -> dict[str, Any]:
        """Return plain data for a file."""
        return {"headrouter": {"format": FORMAT}, **self.model_dump(mode="json", by_alias=True, exclude_unset=True)}

    def differences(self, other: "Record") -> list[str]:
        """Name every field of the hash that differs between two records: ``steps (28, here 12)``."""
        here, there = (one.model_dump(mode="json", by_alias=True, exclude=_UNHASHED) for one in (other, self))
        return differences(there, here)

    def __getitem__(self, name: str) -> Any:
        """Return a part of :meth:`plain`; deprecated."""
        warnings.warn("records have attributes now; indices go with the next release.", DeprecationWarning, 2)
        return self.plain()[name]


def reference_file(number: int) -> str:
    """Return the name of the file of a reference picture, numbered from 1, beside the record."""
    return f"reference-{number}.png"


def masks_of(plan: Plan) -> list[Mask]:
    """Return the masks of an edit, its own and those of its parts."""
    found = [plan.mask, *(getattr(part, "mask", None) for part in (*plan.operators, *plan.methods))]
    return [mask for mask in found if isinstance(mask, Mask)]


def picture_hash(picture: Image.Image) -> str:
    """Return the SHA-256 of a picture's size and RGB pixels, whatever file it came from."""
    digest = hashlib.sha256(f"{picture.width}x{picture.height}".encode())
    digest.update(picture.convert("RGB").tobytes())
    return digest.hexdigest()


def differences(theirs: Any, ours: Any, path: str = "") -> list[str]:
    """Name every value that differs between two mappings of plain data, with both where they are short."""
    if path in ("operators", "methods") and len(theirs) == len(ours):
        theirs, ours = dict(enumerate(theirs)), dict(enumerate(ours))
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        return [
            difference
            for name in {**theirs, **ours}
            for difference in differences(theirs.get(name), ours.get(name), f"{path}.{name}" if path else str(name))
        ]
    if theirs == ours:
        return []
    name = "picture" if path == "source.sha256" else path.removesuffix(".name").removesuffix(".class")
    name = name.removeprefix("edit.").replace("_", " ") if name.startswith("edit.") else name
    values = _repr.repr(theirs), _repr.repr(ours)
    return [name if max(map(len, values)) > _LONGEST_VALUE else f"{name} ({values[0]}, here {values[1]})"]


_LONGEST_VALUE: Final = 40
_repr = reprlib.Repr()  # of a value that was nested by hand, repr() may not come to an end
_repr.maxstring = 2 * _LONGEST_VALUE
