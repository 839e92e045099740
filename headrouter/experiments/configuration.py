"""Define configurations, the ways of editing that an experiment compares, and their hashes."""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any, Final, TypeAlias

from headrouter.editing import tuning
from headrouter.editing.assembly import model_of, name_of
from headrouter.editing.record import Part, Record
from headrouter.errors import InvalidInputError
from headrouter.experiments.other_editor import OtherEditor
from headrouter.imaging.pasting import FEATHER
from headrouter.masks.mask import Mask
from headrouter.methods.method import Method
from headrouter.models.backbone import BackboneParameters
from headrouter.models.fingerprint import folder_fingerprint
from headrouter.models.weights import find_weights
from headrouter.plugins.code import code_of
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import VelocityOperator

EDITORS: Final = "editors"
"""Group of the other editors, where configurations have that of their backbone."""
_LONGEST: Final = 255
"""Bytes of the name of a file on common systems."""


@dataclass(frozen=True)
class Named:
    """Names a way of editing, for tables and folders.

    Attributes:
        name: Unique within its group.
    """

    name: str

    def __post_init__(self) -> None:
        """Refuse a name that no folder can have, or that leads out of the one for results."""
        if not self.slug.strip(".") or len(self.slug.encode()) > _LONGEST:
            raise InvalidInputError(
                f"`name` {self.name[:60]!r} cannot name a folder for results: it takes more than dots, and at most {_LONGEST} "
                "bytes. Give the configuration another."
            )

    @property
    def slug(self) -> str:
        """Return the name as a folder."""
        return slug_of(self.name)


@dataclass(frozen=True)
class Configuration(Named):
    """Describes how edits are done by a composition of parts.

    Attributes:
        backbone: Parameters of the backbone; its device and offloading are the machine's.
        model: Short name, hub id or folder of its weights.
        inversion: The inversion.
        methods: Methods that steer, in order.
        steps, guidance: Of the run, resolved.
        operators: Velocity operators, in order.
        area: Pixels of the model's training pictures; edits run at that area in the aspect of each picture.
        size: Width and height to work at instead.
        negative_prompt: Prompt from which guidance steers away.
        seed: Of a single run; the seeds of an experiment are its own.
        still: Not an edit but a picture as it is: ``source``, or ``target``, the true one, through the autoencoder.
        label: Of the backbone in names and folders, where it is not the registered name.
        mask: Where the edits may act; None for everywhere.
        paste: Whether the original pixels are put back outside the mask.
        feather: Width of the seam.
        strength: Whether each edit is made at several strengths, of which one is kept.
    """

    backbone: BackboneParameters
    model: str
    inversion: Inversion
    methods: tuple[Method, ...]
    steps: int
    guidance: float
    operators: tuple[VelocityOperator, ...] = ()
    area: int = 0
    size: tuple[int, int] | None = None
    negative_prompt: str = ""
    seed: int = 0
    still: str = ""
    label: str = ""
    mask: Mask | None = None
    paste: bool = False
    feather: float = FEATHER
    strength: tuning.Strength | None = None

    @property
    def plan(self) -> tuning.Plan:
        """Return the plan by which the edits are run."""
        parts = self.inversion, self.methods, self.steps, self.guidance, self.operators
        return tuning.Plan(*parts, self.mask, self.paste, self.feather, self.strength)

    @functools.cached_property
    def backbone_name(self) -> str:
        """Return the registered name of the backbone."""
        return name_of("backbone", self.backbone)

    @property
    def group(self) -> str:
        """Return the name of those that are compared first of all with each other: the backbone's."""
        return self.label or self.backbone_name

    @property
    def key(self) -> str:
        """Return the path of its results in a run folder, ``sd3.5/rf-stop=6``, unique in an experiment."""
        return f"{slug_of(self.group)}/{self.slug}"

    @property
    def draws_noise(self) -> bool:
        """Return whether another seed gives another picture."""
        return bool(self.inversion.seeded) and not self.still

    @functools.cached_property
    def loading(self) -> tuple[str, str, str]:
        """Return the key of a loaded model: name, parameters and weights of the backbone."""
        return self.backbone_name, self.backbone.model_dump_json(), self.model

    @functools.cached_property
    def record(self) -> Record:
        """Return all that the results depend on but the prompts and pictures, which are those of the edits."""
        loaded = {**self.backbone.model_dump(mode="json"), "name": self.backbone_name, "model": self.model}
        weights = weights_of(self.backbone_name, self.model)
        side = max(1, isqrt(self.area))  # stands for the area at any aspect
        edit = {"seed": self.seed, "size": self.size or (side, side), "negative_prompt": self.negative_prompt}
        record = Record.of_plan(self.plan, loaded, weights, edit, (self.backbone, self))
        if not self.still:
            return record
        reference = Part.model_validate({"name": "reference", "picture": self.still})
        nothing = record.edit.model_copy(update={"steps": 1, "guidance": 0.0})
        code = code_of((self.backbone, self))
        return record.model_copy(
            update={"inversion": reference, "operators": (), "methods": (), "edit": nothing, "code": code}
        )

    @functools.cached_property
    def hash(self) -> str:
        """Return the hash of :attr:`record`."""
        return self.record.hash

    def describe(self) -> dict[str, Any]:
        """Return plain data for a file: the record."""
        return self.record.plain()


@dataclass(frozen=True)
class OtherConfiguration(Named):
    """Describes how edits are done by an editor that is no composition of parts.

    Attributes:
        editor: Parameters of the editor.
    """

    editor: OtherEditor

    @property
    def editor_name(self) -> str:
        """Return the registered name of the editor."""
        return name_of("editor", self.editor)

    @property
    def group(self) -> str:
        """Return the name of those that are compared first of all with each other: the other editors'."""
        return EDITORS

    @property
    def key(self) -> str:
        """Return the path of its results in a run folder, unique in an experiment."""
        return f"{self.group}/{self.slug}"

    @property
    def draws_noise(self) -> bool:
        """Return whether another seed gives another picture."""
        return True

    @property
    def loading(self) -> tuple[str, str, str]:
        """Return the key of a loaded editor."""
        return f"editor:{self.editor_name}", self.editor.model_dump_json(), ""

    @functools.cached_property
    def hash(self) -> str:
        """Return the hash of all that the results depend on: parameters, weights and code; 16 hexadecimal digits."""
        return hash_of(self.describe())

    def describe(self) -> dict[str, Any]:
        """Return plain data for a file: the editor, its revision and the code."""
        code = {name: one.model_dump() for name, one in code_of((self.editor, self)).items()}
        parameters = {"name": self.editor_name, **self.editor.model_dump(mode="json")}
        return {"editor": parameters, "revision": self.editor.revision, "code": code}


AnyConfiguration: TypeAlias = Configuration | OtherConfiguration


def slug_of(name: str) -> str:
    """Return a name as a folder.

    >>> slug_of("rf + HeadRouter gamma=0.5")
    'rf-+-HeadRouter-gamma=0.5'
    """
    return "".join(letter if letter.isalnum() or letter in "._=+" else "-" for letter in name)


def hash_of(data: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain data, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


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
