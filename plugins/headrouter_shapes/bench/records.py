"""Keep results on disk: a folder for each configuration, a line for each measured edit.

OUT/<set>/<backbone>/<configuration>/configuration.json   what was run, and its hash
                                     results.jsonl        one edit a line
                                     pictures/007.png     what came out
"""

import dataclasses
import errno
import json
import math
import os
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from headrouter.editing.record_file import as_json, record_from
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import Configuration
from headrouter.files import refuse_occupied, remove_unfinished, write_whole
from headrouter.imaging.picture import load_picture, save_picture, writable_folder
from headrouter.plugins.code import commit
from headrouter_shapes.bench.batch import Spent
from headrouter_shapes.bench.measures import Measures, Pictures
from headrouter_shapes.bench.sets import Case

_CONFIGURATION: Final = "configuration.json"
_RESULTS: Final = "results.jsonl"
_RENAMED: Final = {"kept": "preservation", "others_kept": "others_unchanged"}
"""Old names of measures in files, and their new ones."""


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """Holds one measured edit.

    Attributes:
        backbone, configuration: Names.
        hash: Of the configuration.
        set: Of cases.
        case, source_number, kind, change: Description of the edit, see :class:`~headrouter_shapes.bench.sets.Case`.
        seed: Of the noise.
        measures: Its measures.
        spent: Its cost; seconds are its share of its batch.
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

    @classmethod
    def of(cls, configuration: Configuration, name: str, case: Case, measures: Measures, spent: Spent) -> "Row":
        """Return the row of a case of the set ``name``."""
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
        )

    def line(self) -> str:
        """Return JSON; a measure that does not exist is null."""
        data = dataclasses.asdict(self)
        if math.isnan(data["measures"]["preservation"]):
            data["measures"]["preservation"] = None
        return json.dumps(data, ensure_ascii=False, allow_nan=False)

    @classmethod
    def read(cls, line: str | bytes) -> "Row":
        """Read a line, of today or with old names of measures; ValueError, KeyError or TypeError for anything else."""
        data = json.loads(line)
        measures = {_RENAMED.get(name, name): value for name, value in data.pop("measures").items()}
        measures["preservation"] = math.nan if measures["preservation"] is None else measures["preservation"]
        return cls(**data | {"measures": Measures(**measures), "spent": Spent(**data["spent"])})


class Records:
    """Keeps the results of one configuration on disk.

    Args:
        out: Folder of the whole benchmark.
        name: Of the set of cases.
        configuration: Configuration of the run.

    Raises:
        InvalidInputError: the folder holds results of another configuration, or damaged ones, or something else is where a
            file or folder of them goes. Nothing is overwritten.
    """

    def __init__(self, out: Path, name: str, configuration: Configuration):
        """Read what is there already."""
        self.configuration, self.set = configuration, name
        self.folder = out / name / configuration.backbone_name / configuration.slug
        self.rows: dict[int, Row] = {}
        self._whole = 0
        pictures = self.folder / "pictures"
        for place in (pictures, *pictures.parents[:3]):
            refuse_occupied(place, folder=True)
        for file in (_CONFIGURATION, _RESULTS):
            refuse_occupied(self.folder / file)
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
            digest, plain = theirs["hash"], theirs["record"]
            if digest == ours.hash:
                return
            told = (
                record_from(plain).differences(ours.record) if "headrouter" in plain else ["code of an earlier version"]
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(f"'{path}' is damaged: {error}. Move its folder away to start anew.") from error
        if told and all(one.startswith("code") for one in told):
            commits = f"commit {theirs.get('commit') or 'unknown'}, here {commit() or 'unknown'}"
            raise InvalidInputError(
                f"'{self.folder}' holds results of other code: {'; '.join(told)}; {commits}. Choose another output folder, "
                "or continue with the code that began it."
            )
        raise InvalidInputError(
            f"'{self.folder}' holds results of another configuration named {ours.name!r}: {'; '.join(told) or 'its hash'}. "
            "Give this one another name, or another output folder."
        )

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InvalidInputError(f"cannot read '{path}': {error}. Move its folder away to start anew.") from error
        self._whole = content.rfind(b"\n") + 1  # behind it is what was cut off; that edit is done again
        for number, line in enumerate(content[: self._whole].splitlines(), 1):
            try:
                row = Row.read(line)
                known = self.rows.get(row.case, row)
                if row.hash != self.configuration.hash:
                    raise ValueError("of another configuration")
                if dataclasses.replace(row, spent=known.spent) != known:
                    raise ValueError("another result of an edit that is there already")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InvalidInputError(
                    f"{path}:{number}: damaged line: {error}. Nothing was overwritten: delete the line, and its edit is "
                    "done again."
                ) from error
            self.rows.setdefault(row.case, row)

    def remove_unfinished(self) -> None:
        """Remove pictures and records that a killed process was writing; only for whoever has claimed the folder."""
        for folder in (self.folder, self.folder / "pictures"):
            remove_unfinished(folder)

    def add(self, case: Case, picture: Pictures, measures: Measures, spent: Spent) -> Row:
        """Write the picture, then the line.

        Raises:
            InvalidInputError: they cannot be written; what is there is whole.
        """
        writable_folder(self.folder / "pictures")
        if not (self.folder / _CONFIGURATION).is_file():
            ours = self.configuration
            what = {"name": ours.name, "hash": ours.hash, "record": ours.record.plain(), "commit": commit()}
            write_whole(self.folder / _CONFIGURATION, as_json(what))
        save_picture(Image.fromarray(picture), self._picture(case.number))
        row = Row.of(self.configuration, self.set, case, measures, spent)
        self._append(f"{row.line()}\n".encode())
        self.rows[case.number] = row
        return row

    def _append(self, line: bytes) -> None:
        """Write behind the last whole line; take the line back on a full disk."""
        path = self.folder / _RESULTS
        try:
            with path.open("ab", buffering=0) as file:
                file.truncate(self._whole)
                if file.write(line) < len(line):
                    file.truncate(self._whole)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise InvalidInputError(
                f"cannot write '{path}': {error.strerror or error}. Make room, and start again to continue."
            ) from error
        self._whole += len(line)

    def picture(self, case: Case) -> Pictures:
        """Return the edited picture, uint8 [64, 64, 3]."""
        return np.asarray(load_picture(self._picture(case.number)))

    def _picture(self, number: int) -> Path:
        return self.folder / "pictures" / f"{number:03d}.png"
