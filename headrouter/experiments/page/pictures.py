"""Lay out the pictures of a page: sources and masks of the data set, edits, and thumbnails, each made once."""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np
from PIL import Image

from headrouter.errors import HeadRouterError
from headrouter.experiments.dataset import Item
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.files import write_whole

THUMBNAIL: Final = 192
"""Pixels of the longer side of a thumbnail; a picture that is not larger has none."""
_LARGEST: Final = 2**28


@dataclass(frozen=True, slots=True)
class Shown:
    """Holds the addresses of a picture and its thumbnail from the page; without them, why there is none."""

    picture: str = ""
    thumbnail: str = ""
    missing: str = ""


@dataclass(frozen=True)
class PictureShelf:
    """Writes pictures into the folder of a page.

    A file is named by what it shows, so that another report of a run that went on writes new ones alone.

    Attributes:
        page: Folder of the page.
        run: The run folder.
        whole: Whether edits are copied, so that the page can go without the run folder.
        salt: Revision of the data set: pictures of another one are others.
    """

    page: Path
    run: Path
    whole: bool
    salt: str
    problems: list[str] = field(default_factory=list)

    def edits(self, records: Sequence[CellRecord]) -> list[Shown]:
        """Return where each edited picture is, several at a time."""
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            return list(pool.map(self._edit, records))

    def of_items(self, items: Sequence[Item]) -> list[Mapping[str, Shown]]:
        """Return for each item its ``source``, ``truth`` and ``mask``, as far as there are any."""
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            sources = {item.picture_key: item for item in reversed(items)}
            shown = dict(zip(sources, pool.map(self._source, sources.values()), strict=True))
            rest = list(pool.map(self._rest, items))
        return [{"source": shown[item.picture_key], **found} for item, found in zip(items, rest, strict=True)]

    def _edit(self, record: CellRecord) -> Shown:
        if record.saved is None:
            return Shown()
        path = self.run / record.saved.file
        try:
            if not path.is_file():
                return Shown(missing=f"the picture '{record.saved.file}' is missing")
            with Image.open(path) as picture:
                small = max(picture.size) <= THUMBNAIL
                if small:
                    picture.load()  # refuses a damaged one
            name = record.saved.sha256[:24]
            address = quote(os.path.relpath(path, self.page).replace(os.sep, "/"))
            if self.whole:
                address = f"pictures/{name}{path.suffix}"
                self._once(address, lambda place: shutil.copyfile(path, place))
            thumbnail = "" if small else f"thumbnails/{name}.webp"
            if thumbnail:
                self._once(thumbnail, lambda place: _thumbnail(Image.open(path), place))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            return Shown(missing=f"the picture '{record.saved.file}' is damaged: {error}")
        return Shown(address, thumbnail)

    def _source(self, item: Item) -> Shown:
        return self._of_item("source", item.picture_key, item.picture, _png)

    def _rest(self, item: Item) -> dict[str, Shown]:
        found = {}
        if self._has(item, "truth"):
            found["truth"] = self._of_item("truth", item.key, item.truth, _png)
        if self._has(item, "mask"):
            found["mask"] = self._of_item("mask", item.key, lambda: _mask(item), _mask_png)
        return found

    @staticmethod
    def _has(item: Item, word: str) -> bool:
        try:
            return item.has(word)
        except (HeadRouterError, OSError, ValueError):
            return True  # and reading it says what is wrong

    def _of_item(
        self, what: str, key: str, read: Callable[[], Image.Image | None], write: Callable[[Image.Image, Path], None]
    ) -> Shown:
        name = hashlib.sha256(f"{self.salt} {what} {key}".encode()).hexdigest()[:24]
        address, thumbnail = f"pictures/{name}.png", f"thumbnails/{name}.webp"
        try:
            if not (self.page / address).is_file():
                picture = read()
                if picture is None:
                    return Shown(missing=f"the data set has no {what} of {key}")
                if what != "mask" and max(picture.size) > THUMBNAIL:
                    self._once(thumbnail, lambda place: _thumbnail(picture, place))
                self._once(address, lambda place: write(picture, place))
        except (HeadRouterError, OSError, ValueError, Image.DecompressionBombError) as error:
            return Shown(missing=f"the {what} of {key} cannot be read: {error}")
        return Shown(address, thumbnail if (self.page / thumbnail).is_file() else "")

    def _once(self, address: str, make: Callable[[Path], object]) -> None:
        """Make a file unless it is there, whole or not at all."""
        path = self.page / address
        if path.is_file():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{os.getpid()}-{id(make):x}{path.suffix}")
        make(unfinished)
        unfinished.replace(path)


def _thumbnail(picture: Image.Image, path: Path) -> None:
    small = picture.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS, reducing_gap=2.0)
    small.save(path, "WEBP", quality=80, method=2)


def _png(picture: Image.Image, path: Path) -> None:
    picture.convert("RGB").save(path, "PNG", compress_level=3)


def _mask(item: Item) -> Image.Image | None:
    mask = item.mask()
    return None if mask is None else Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).convert("1")


def _mask_png(mask: Image.Image, path: Path) -> None:
    """Write black where an edit must not change the picture; the rest is transparent."""
    mask.save(path, "PNG", transparency=1)


def write_text(path: Path, text: str) -> None:
    """Write a text whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
