"""Results on disk: a folder for each configuration, a line for each edit, written as soon as it is measured.

OUT/<set>/<backbone>/<configuration>/configuration.json   what was run, and its hash
                                     results.jsonl        one edit a line
                                     pictures/007.png     what came out
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from headrouter import __version__
from headrouter.errors import InvalidInputError
from headrouter.picture import load_picture, save_picture, writable_folder
from headrouter.result import write_record
from headrouter_shapes.bench.batch import Spent
from headrouter_shapes.bench.configuration import Configuration
from headrouter_shapes.bench.measures import Measures, Pictures
from headrouter_shapes.bench.sets import Case

_CONFIGURATION: Final = "configuration.json"
_RESULTS: Final = "results.jsonl"


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One measured edit.

    Attributes:
        backbone, configuration: Names.
        hash: Of the configuration.
        set: Of cases.
        case, source_number, kind, change: What was edited, see :class:`~headrouter_shapes.bench.sets.Case`.
        seed: Of the noise.
        measures: How right it is.
        spent: What it took; seconds are its share of its batch.
        versions: Of headrouter and torch.
    """

    backbone: str
    configuration: str
    hash: str
    set: str
    case: int
    source_number: int
    kind: str
    change: str
    seed: int
    measures: Measures
    spent: Spent
    versions: Mapping[str, str]

    @classmethod
    def of(cls, configuration: Configuration, name: str, case: Case, measures: Measures, spent: Spent) -> "Row":
        """The row of a case of the set ``name``."""
        return cls(
            configuration.backbone_name,
            configuration.name,
            configuration.hash,
            name,
            case.number,
            case.source_number,
            case.kind,
            case.change,
            case.seed(configuration.seed),
            measures,
            spent,
            {"headrouter": __version__, "torch": torch.__version__},
        )

    def line(self) -> str:
        """JSON; a measure that does not exist is null."""
        data = dataclasses.asdict(self)
        if math.isnan(data["measures"]["kept"]):
            data["measures"]["kept"] = None
        return json.dumps(data, ensure_ascii=False, allow_nan=False)

    @classmethod
    def read(cls, line: str) -> "Row":
        """What :meth:`line` wrote; ValueError, KeyError or TypeError for anything else."""
        data = json.loads(line)
        measures = dict(data.pop("measures"))
        measures["kept"] = math.nan if measures["kept"] is None else measures["kept"]
        return cls(**data | {"measures": Measures(**measures), "spent": Spent(**data["spent"])})


class Records:
    """The results of one configuration, on disk.

    Args:
        out: Folder of the whole benchmark.
        name: Of the set of cases.
        configuration: What is run.

    Raises:
        InvalidInputError: the folder holds results of another configuration, or damaged ones. Nothing is overwritten.
    """

    def __init__(self, out: Path, name: str, configuration: Configuration):
        """Read what is there already."""
        self.configuration, self.set = configuration, name
        self.folder = out / name / configuration.backbone_name / configuration.slug
        self.rows: dict[int, Row] = {}
        self._refuse_others()
        path = self.folder / _RESULTS
        if path.is_file():
            self._read(path)

    def _refuse_others(self) -> None:
        path, ours = self.folder / _CONFIGURATION, self.configuration
        if not path.is_file():
            if (self.folder / _RESULTS).exists():
                raise InvalidInputError(f"'{self.folder / _RESULTS}' has no {_CONFIGURATION} beside it; move it away.")
            return
        try:
            theirs = json.loads(path.read_text(encoding="utf-8"))
            record, digest = theirs["record"], theirs["hash"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(f"'{path}' is damaged: {error}. Move its folder away to start anew.") from error
        if digest != ours.hash:
            told = "; ".join(_differences(record, ours.record)) or "its hash"
            raise InvalidInputError(
                f"'{self.folder}' holds results of another configuration named {ours.name!r}: {told}. Give this one "
                "another name, or another output folder."
            )

    def _read(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"cannot read '{path}': {error}. Move its folder away to start anew.") from error
        for number, line in enumerate(text.splitlines(keepends=True), 1):
            try:
                row = Row.read(line)
                if not line.endswith("\n") or row.hash != self.configuration.hash or row.case in self.rows:
                    raise ValueError("cut off, of another configuration, or there twice")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InvalidInputError(
                    f"{path}:{number}: damaged line: {error}. Nothing was overwritten: delete the line, and its edit is "
                    "done again."
                ) from error
            self.rows[row.case] = row

    def add(self, case: Case, picture: Pictures, measures: Measures, spent: Spent) -> Row:
        """Write the picture, then the line."""
        writable_folder(self.folder / "pictures")
        if not (self.folder / _CONFIGURATION).is_file():
            ours = self.configuration
            write_record(self.folder / _CONFIGURATION, {"name": ours.name, "hash": ours.hash, "record": ours.record})
        save_picture(Image.fromarray(picture), self._picture(case.number))
        row = Row.of(self.configuration, self.set, case, measures, spent)
        with (self.folder / _RESULTS).open("a", encoding="utf-8") as file:
            file.write(row.line() + "\n")
        self.rows[case.number] = row
        return row

    def picture(self, case: Case) -> Pictures:
        """What came out, uint8 [64, 64, 3]."""
        return np.asarray(load_picture(self._picture(case.number)))

    def _picture(self, number: int) -> Path:
        return self.folder / "pictures" / f"{number:03d}.png"


def _differences(theirs: Any, ours: Any, path: str = "") -> list[str]:
    """What differs between two records, as ``name theirs, here ours``."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        return [
            difference
            for name in {**theirs, **ours}
            for difference in _differences(theirs.get(name), ours.get(name), f"{path}.{name}" if path else str(name))
        ]
    return [] if theirs == ours else [f"{path} {theirs!r}, here {ours!r}"]
