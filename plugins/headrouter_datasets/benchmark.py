"""Read a data set from a folder: its rows, the part of them to take, and all that is wrong with them."""

import abc
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Final

from PIL import Image
from pydantic import Field

from headrouter.errors import InvalidInputError
from headrouter.experiments.dataset import Dataset, Item, Mask
from headrouter.files import path_of
from headrouter_datasets.reading.known_folders import other_set
from headrouter_datasets.reading.masks import MaskSource
from headrouter_datasets.reading.picture_files import PictureSource
from headrouter_datasets.reading.problems import Problems

_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class FileItem(Item):
    """Describes an edit whose picture, mask and truth are in files, or in the cells of a table.

    Attributes:
        place: File and row that it was read from, for messages.
    """

    place: str
    picture_source: PictureSource
    mask_source: MaskSource | None = None
    truth_source: PictureSource | None = None

    def picture(self) -> Image.Image:
        """Read the picture, RGB."""
        return self.picture_source.read()

    def mask(self) -> Mask | None:
        """Return where the edit may change the picture, bool [H, W]; None without a mask."""
        return None if self.mask_source is None else self.mask_source.read()

    def truth(self) -> Image.Image | None:
        """Read the right result; None where it is not known."""
        return None if self.truth_source is None else self.truth_source.read()


@dataclass(frozen=True, slots=True)
class Contents:
    """Holds the part of a data set that is taken, checked, and the hash of its data."""

    items: tuple[FileItem, ...]
    revision: str


class Benchmark(Dataset):
    """Holds the parameters that data sets in folders share.

    An object reads its folder once: make another after the files have changed.
    """

    title: ClassVar[str]
    """Name of the data set in messages."""
    size: ClassVar[tuple[int, int] | None] = None
    """Width and height of every picture; None if any size will do."""
    radar_kinds: ClassVar[dict[str, str]] = {}

    folder: Annotated[str, Field(description="Where the data set was downloaded to.")]
    kinds: Annotated[
        tuple[str, ...], Field(description="Kinds of edit to take; all of them if empty.", examples=[["change_style"]])
    ] = ()
    first: Annotated[int, Field(ge=0, description="Pictures to pass over, of those with an edit of these kinds.")] = 0
    count: Annotated[int | None, Field(ge=1, description="Pictures to take; all that are left if not given.")] = None
    without: Annotated[
        tuple[str, ...],
        Field(description="Keys of pictures or edits to leave out, such as those whose files were not published."),
    ] = ()

    @abc.abstractmethod
    def rows(self, folder: Path, problems: Problems) -> Iterable[FileItem]:
        """Read the tables of the data set, in its own order.

        Numbers of pictures may be left at 0: they are counted afterwards. A row that is wrong is left out, and added to
        ``problems``; pictures and masks are not opened.

        Raises:
            InvalidInputError: a table is not there, or cannot be read.
        """

    def items(self) -> Sequence[FileItem]:
        """Return the edits of the part that is taken, those of one picture one after the other."""
        return self.contents.items

    @property
    def revision(self) -> str:
        """Return a hash of the table of edits and of the pictures, masks and truths, of the part that is taken."""
        return self.contents.revision

    @property
    def radar(self) -> dict[str, str]:
        """Return for kinds of edit the one of the eight kinds of :mod:`headrouter.experiments.radar` that it counts as."""
        return dict(self.radar_kinds)

    @cached_property
    def contents(self) -> Contents:
        """Read and check everything.

        Raises:
            InvalidInputError: all that is wrong, with file and row; a folder of another data set is named.
        """
        folder = path_of(self.folder, "folder").expanduser()
        if not folder.is_dir():
            raise InvalidInputError(f"`folder` of {self.title} must be a folder that is there (got '{folder}').")
        problems = Problems(self.title, folder)
        try:
            found = list(self.rows(folder, problems))
        except InvalidInputError as error:
            other = other_set(folder, type(self).__name__)
            raise InvalidInputError(f"{error}{other}") from error
        whole = _numbered(found, problems)
        part = self._part(whole) if whole else []
        check = _Check(self.size, problems)
        entries = [check.entry(item) for item in part]
        problems.refuse()
        if not whole:
            raise InvalidInputError(f"{self.title} in '{folder}' has no edits.")
        return Contents(tuple(part), hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:16])

    def _part(self, whole: Sequence[FileItem]) -> list[FileItem]:
        known = list(dict.fromkeys(item.kind for item in whole))
        for kind in self.kinds:
            if kind not in known:
                close = get_close_matches(kind, known, n=1)
                advice = f" Did you mean {close[0]!r}?" if close else ""
                raise InvalidInputError(
                    f"`kinds` of {self.title} must be some of {', '.join(map(repr, known))} (got {kind!r}).{advice}"
                )
        names = {name for item in whole for name in (item.key, item.picture_key)}
        unknown = [name for name in self.without if name not in names]
        if unknown:
            raise InvalidInputError(
                f"`without` names {unknown[0]!r}, which is no key of a picture or an edit of {self.title}."
            )
        kept = [
            item
            for item in whole
            if (not self.kinds or item.kind in self.kinds) and not {item.key, item.picture_key} & set(self.without)
        ]
        pictures = list(dict.fromkeys(item.picture_key for item in kept))
        if self.first >= len(pictures):
            raise InvalidInputError(
                f"`first` must be below {len(pictures)}, the pictures to choose from (got {self.first})."
            )
        taken = set(pictures[self.first : None if self.count is None else self.first + self.count])
        return [item for item in kept if item.picture_key in taken]


def _numbered(found: Sequence[FileItem], problems: Problems) -> list[FileItem]:
    """Number the pictures, bring the edits of each together, and check the keys."""
    pictures: dict[str, list[FileItem]] = {}
    keys: dict[str, FileItem] = {}
    for item in found:
        if not _SAFE.fullmatch(item.key):
            problems.add(
                item.place, f"the id {item.key!r} must be letters of English, digits, `.`, `_`, `-`: it names files."
            )
        first = keys.setdefault(item.key.casefold(), item)
        if first is not item:
            problems.add(item.place, f"the id {item.key!r} is there already, at {first.place}.")
        pictures.setdefault(item.picture_key, []).append(item)
    return [replace(item, number=number) for number, edits in enumerate(pictures.values()) for item in edits]


@dataclass(slots=True)
class _Check:
    """Checks the files of edits, each once."""

    wanted: tuple[int, int] | None
    problems: Problems
    seen: dict[Path | bytes, tuple[tuple[int, int], str] | None] = field(default_factory=dict)

    def entry(self, item: FileItem) -> list[object]:
        """Check the files of an edit, and return its values with their hashes."""
        size = self._picture(item, item.picture_source, self.wanted, "")
        self._picture(item, item.truth_source, size, "`truth`: ")
        digest = ""
        if item.mask_source is not None:
            try:
                mask = item.mask_source.read()
            except InvalidInputError as error:
                self.problems.add(item.place, str(error))
            else:
                height, width = mask.shape
                if size is not None and (width, height) != size:
                    self.problems.add(
                        item.place, f"`mask` has {width}x{height} pixels, and the picture {size[0]}x{size[1]}."
                    )
                digest = hashlib.sha256(mask.tobytes()).hexdigest()
        files = (item.picture_source, item.truth_source)
        hashes = [(self.seen[source.content] or ("", ""))[1] if source is not None else "" for source in files]
        texts = (item.key, item.picture_key, item.kind, item.source_prompt, item.prompt, item.instruction)
        return [*texts, item.number, *hashes, digest]

    def _picture(
        self, item: FileItem, source: PictureSource | None, wanted: tuple[int, int] | None, name: str
    ) -> tuple[int, int] | None:
        """Check a picture, and return its size; None where it cannot be read."""
        if source is None:
            return wanted
        file = f"{name}'{source.content.name}': " if isinstance(source.content, Path) else name
        if source.content not in self.seen:
            self.seen[source.content] = None
            try:
                self.seen[source.content] = source.check()
            except InvalidInputError as error:
                self.problems.add(item.place, f"{file}{error}")
        known = self.seen[source.content]
        if known is None:
            return None
        (width, height), _ = known
        if wanted is not None and (width, height) != wanted:
            self.problems.add(
                item.place, f"{file}the picture has {width}x{height} pixels, not {wanted[0]}x{wanted[1]}."
            )
        return width, height
