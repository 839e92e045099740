"""Find the pictures that a command line names: files, folders of them and patterns, each with a name."""

import glob
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from headrouter.cli.streams import say
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.files import path_of

if TYPE_CHECKING:
    from PIL import Image


def are_several(given: Sequence[str]) -> bool:
    """Return whether a command line names several files, a folder or a pattern."""
    return len(given) > 1 or path_of(given[0], "image").is_dir() or _is_pattern(given[0])


def pictures_of(given: Sequence[str]) -> dict[str, Path]:
    """Find the pictures, each under a name that differs from the others even without case.

    A folder stands for the pictures in it, by their suffix, without those in folders below; a warning names its other files.

    Raises:
        InvalidInputError: a folder or a pattern without pictures.
    """
    found = dict.fromkeys(chain.from_iterable(map(_expanded, given)))
    stems, names = (
        Counter(_folded(text) for text in texts) for texts in zip(*((p.stem, p.name) for p in found), strict=True)
    )
    chosen: dict[str, Path] = {}
    taken: set[str] = set()
    for path in found:
        alone = stems[_folded(path.stem)] == 1, names[_folded(path.name)] == 1
        wishes = [text for text, free in zip((path.stem, path.name), alone, strict=True) if free]
        name = next(
            text
            for text in chain(wishes, (f"{path.name}-{number}" for number in count(1)))
            if _folded(text) not in taken
        )
        taken.add(_folded(name))
        chosen[name] = path
    return chosen


@dataclass(frozen=True)
class Photo:
    """Holds a picture that was read, its file, and the name of the folder for its edits."""

    name: str
    path: Path
    picture: "Image.Image"


def read_in_groups(
    pictures: Mapping[str, Path], most: int, unread: Callable[[HeadRouterError], None]
) -> Iterator[list[Photo]]:
    """Read pictures in order, and yield those of one size that follow each other, at most so many together.

    Args:
        pictures: Files by the name of the folder for their edits.
        most: Of one group.
        unread: Is given the error of each picture that cannot be read.
    """
    from headrouter.imaging.picture import load_picture

    group: list[Photo] = []
    for name, path in pictures.items():
        try:
            photo = Photo(name, path, load_picture(path))
        except HeadRouterError as error:
            unread(error)
            continue
        if group and group[0].picture.size != photo.picture.size:
            yield group
            group = []
        group.append(photo)
        if len(group) == most:
            yield group
            group = []
    if group:
        yield group


def _expanded(text: str) -> list[Path]:
    path = path_of(text, "image")
    if path.is_dir():
        return _in_folder(path)
    if not _is_pattern(text):
        return [path]
    matches = sorted((Path(match) for match in glob.glob(text, recursive=True)), key=_natural)  # noqa: PTH207
    if not (files := [match for match in matches if not match.is_dir()]):
        raise InvalidInputError(f"`image` {text!r} matches no file. Check the pattern.")
    return files


def _in_folder(folder: Path) -> list[Path]:
    from PIL import Image

    from headrouter.imaging.decoding import FORMATS

    suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    try:
        files = sorted((each for each in folder.iterdir() if not each.is_dir()), key=_natural)
    except OSError as error:
        raise InvalidInputError(f"cannot read `image` '{folder}': {error.strerror}. Check the path.") from error
    seen = [file for file in files if not file.name.startswith(".")]
    pictures = [file for file in seen if file.suffix.lower() in suffixes]
    if not pictures:
        raise InvalidInputError(
            f"`image` '{folder}' is a folder without pictures. Known suffixes: {' '.join(sorted(suffixes))}."
        )
    if others := [file.name for file in seen if file not in set(pictures)]:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        say(f"warning: no pictures by their suffix, left out of '{folder}': {', '.join(map(ascii, others[:5]))}{more}")
    return pictures


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not path_of(text, "image").exists()


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts photo-2 before photo-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", str(path))]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
