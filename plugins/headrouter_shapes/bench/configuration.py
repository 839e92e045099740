"""Resolve a configuration, everything that decides how edits of the benchmark are done, and hash it."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import Field, create_model

from headrouter.config.configuration import Override, validate
from headrouter.config.yaml_document import Document
from headrouter.editing import tuning
from headrouter.editing.assembly import (
    Methods,
    inversion_of,
    methods_of,
    model_of,
    name_of,
    part_class,
)
from headrouter.editing.assembly import refuse_misfits as refuse
from headrouter.editing.record import Part, Record
from headrouter.errors import InvalidInputError
from headrouter.methods.head_router.method import NoMethod
from headrouter.methods.method import Method
from headrouter.models.backbone import BackboneParameters, Defaults
from headrouter.models.fingerprint import folder_fingerprint
from headrouter.models.weights import find_weights
from headrouter.plugins import registry
from headrouter.plugins.code import code_of
from headrouter.sampling.inversion import Inversion
from headrouter_shapes.world.drawing import PICTURE_SIZE

WORLD: Final = Defaults(steps=28, guidance=3.0, area=64 * 64)
"""What suits a model of the drawn world whose registration does not say, for instance a folder."""
_LONGEST: Final = 255
"""Bytes of the name of a file on common systems."""
_MACHINE: Final = frozenset({"device", "dtype", "offload"})


class Knobs(tuning.Knobs):
    """Holds the values of a configuration beside its parts, as in :meth:`headrouter.editing.editor.Editor.edit`."""

    seed: int = Field(0, ge=0, lt=2**31, description="of all noise; each source picture has its own noise")


@dataclasses.dataclass(frozen=True, slots=True)
class Placed(Override):
    """Holds a value to put at a path, and its place: a line of a file, or an option."""

    place: str = ""

    @property
    def origin(self) -> str:
        """Return its name in messages."""
        return self.place


@dataclasses.dataclass(frozen=True)
class Configuration:
    """Describes how edits are done.

    Attributes:
        name: For tables and folders; unique within a backbone.
        backbone: Parameters of the backbone.
        model: Short name, hub id or folder of its weights.
        inversion: The inversion.
        methods: Methods that steer, in order.
        steps, guidance, seed: Of the run, resolved.
        still: Not an edit but a picture as it is: ``source``, or ``target``, the true one, through the autoencoder.
    """

    name: str
    backbone: BackboneParameters
    model: str
    inversion: Inversion
    methods: tuple[Method, ...]
    steps: int
    guidance: float
    seed: int = 0
    still: str = ""

    def __post_init__(self) -> None:
        """Refuse a name that no folder can have, or that leads out of the one for results."""
        if not self.slug.strip(".") or len(self.slug.encode()) > _LONGEST:
            raise InvalidInputError(
                f"`name` {self.name[:60]!r} cannot name a folder for results: it takes more than dots, and at most {_LONGEST} "
                "bytes. Give the configuration another."
            )

    @property
    def plan(self) -> tuning.Plan:
        """Return the plan by which the edits are run."""
        return tuning.Plan(self.inversion, self.methods, self.steps, self.guidance)

    @property
    def backbone_name(self) -> str:
        """Return the registered name of the backbone."""
        return name_of("backbone", self.backbone)

    @property
    def loading(self) -> tuple[str, str, str]:
        """Return the key of a loaded model: name, parameters and weights of the backbone."""
        return self.backbone_name, self.backbone.model_dump_json(), self.model

    @property
    def slug(self) -> str:
        """Return the name as a folder."""
        return "".join(letter if letter.isalnum() or letter in "._=+" else "-" for letter in self.name)

    @property
    def record(self) -> Record:
        """Return all that the results depend on but the prompts and pictures, which are those of the cases."""
        loaded = {**self.backbone.model_dump(mode="json"), "name": self.backbone_name, "model": self.model}
        weights = weights_of(self.backbone_name, self.model)
        edit = {"seed": self.seed, "size": (PICTURE_SIZE, PICTURE_SIZE)}
        record = Record.of_plan(self.plan, {**loaded, "dtype": "float32"}, weights, edit, (self.backbone, self))
        if not self.still:
            return record
        reference = Part.model_validate({"name": "reference", "picture": self.still})
        nothing = record.edit.model_copy(update={"steps": 1, "guidance": 0.0})
        code = code_of((self.backbone, self))
        return record.model_copy(update={"inversion": reference, "methods": (), "edit": nothing, "code": code})

    @property
    def hash(self) -> str:
        """Hash of :attr:`record`."""
        return self.record.hash


def configure(
    name: str,
    backbone: str | BackboneParameters = "sd3.5",
    inversion: str | Inversion = "rf",
    method: Methods = "headrouter",
    *,
    model: str = "shapes",
    **knobs: Any,
) -> Configuration:
    """Compose a configuration from names or objects, as :class:`headrouter.editing.editor.Editor` does.

    Raises:
        HeadRouterError: parts that do not exist or do not fit, before any model is loaded.
    """
    chosen = part_class("backbone", backbone)() if isinstance(backbone, str) else backbone
    return resolve(name, chosen, model, inversion_of(inversion), methods_of(method), validate(Knobs, knobs))


def read_configuration(
    name: str, model: str, data: Mapping[str, Any] | Document, overrides: Sequence[Override] = ()
) -> Configuration:
    """Compose a configuration from plain data.

    Args:
        name: Of the configuration.
        model: Of the weights.
        data: ``backbone``, ``inversion`` and ``method``, each the name of a part or a mapping of ``name`` and the part's
            parameters (``method`` also a list of these), and the fields of :class:`Knobs`.
        overrides: Values that replace those in ``data``.

    Raises:
        InvalidInputError: all errors at once, each with its place where ``data`` has places.
    """
    tree = data.data if isinstance(data, Document) else data
    if not isinstance(tree, Mapping):
        raise InvalidInputError(f"a configuration must be a mapping (got {tree!r}).")
    whole = [override for override in overrides if override.path in (("backbone",), ("inversion",), ("method",))]
    tree = {"backbone": "sd3.5", "inversion": "rf", "method": "headrouter", **tree}
    tree |= {override.path[0]: override.value for override in whole}
    kinds: dict[str, Any] = {}
    for kind in ("backbone", "inversion"):
        kinds[kind], tree[kind] = _part(kind, tree[kind])
    listed = isinstance(tree["method"], list)
    methods = [_part("method", one) for one in (tree["method"] if listed else [tree["method"]])]
    classes = tuple(kind for kind, _ in methods)
    kinds["method"] = tuple[classes] if listed else classes[0]  # type: ignore[valid-type]
    tree["method"] = [values for _, values in methods] if listed else methods[0][1]
    required: dict[str, Any] = {field: (kind, ...) for field, kind in kinds.items()}
    shape = create_model("Configuration", __base__=Knobs, **required)
    place = dataclasses.replace(data, data=tree) if isinstance(data, Document) else tree
    rest = [override for override in overrides if override not in whole]
    given: Any = validate(shape, place, rest)
    knobs = Knobs(**{field: getattr(given, field) for field in Knobs.model_fields})
    chosen = given.method if listed else (given.method,)
    return resolve(name, given.backbone, model, given.inversion, chosen, knobs)


def _part(kind: Any, value: Any) -> tuple[Any, dict[str, Any]]:
    """Return the class of a part, and its parameters without the name; None is the method that does nothing."""
    if value is None and kind == "method":
        value = "none"
    values = dict(value) if isinstance(value, Mapping) else {"name": value}
    name = values.pop("name", None)
    if not isinstance(name, str):
        raise InvalidInputError(f"`{kind}` must be a name, or a mapping with a `name` and parameters (got {value!r}).")
    return part_class(kind, name), values


def resolve(
    name: str,
    backbone: BackboneParameters,
    model: str,
    inversion: Inversion,
    methods: Sequence[Method],
    knobs: Knobs,
) -> Configuration:
    """Settle steps, guidance, presets and knobs as :class:`headrouter.editing.editor.Editor` does."""
    kind = name_of("backbone", backbone)
    if given := sorted(backbone.model_fields_set & _MACHINE):
        raise InvalidInputError(
            f"`backbone.{given[0]}` is no part of a configuration: the benchmark runs in float32, where `--device` says."
        )
    refuse(frozenset(registry().backbone(kind).provides), kind, (inversion, *methods))
    defaults = model_of(kind, model)[1] or WORLD
    plan = tuning.settle(knobs, inversion, methods, defaults)
    acting = tuple(method for method in plan.methods if not isinstance(method, NoMethod))
    settled = type(inversion)(**{**plan.inversion.model_dump(), "steps": plan.steps, "guidance": None})
    return Configuration(name, backbone, model, settled, acting, plan.steps, float(plan.guidance), knobs.seed)


def weights_of(backbone: str, model: str) -> str:
    """Return the fingerprint of the pipeline's folder, or a hub id that is not here yet."""
    source = model_of(backbone, model)[0]
    state = find_weights(source)
    folder = Path(state.remark if state.usable else source)
    if not folder.is_dir():
        return source
    files = [(file, file.stat()) for file in sorted(folder.rglob("*")) if file.is_file()]
    return _fingerprint(folder, tuple((str(file), found.st_size, found.st_mtime_ns) for file, found in files))


@functools.cache
def _fingerprint(folder: Path, files: tuple[tuple[str, int, int], ...]) -> str:
    """Return the fingerprint of a folder; sizes and times make changed files be read again."""
    del files
    return folder_fingerprint(folder)
