"""Define data sets: pictures, and the edits to make of them."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from headrouter.config.configuration import Parameters

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Item(abc.ABC):
    """Describes one edit of a data set; a class of a data set's own reads the picture, and adds what its metrics need.

    Attributes:
        key: Of the edit, unique in the data set; names its files: letters, digits, ``.``, ``_``, ``-``.
        picture_key: Of the picture. Items of one picture have the same source prompt, and share its inversion.
        number: Of the picture in the whole data set, from 0; its noise is drawn from it and the run's seed.
        kind: Kind of edit, in the data set's own words.
        source_prompt: Text of the picture; empty where the data set has none.
        prompt: Text of the edit.
        instruction: The edit as a request, "make the star red"; empty where the data set has none.
    """

    key: str
    picture_key: str
    number: int
    kind: str
    source_prompt: str
    prompt: str
    instruction: str = ""

    @abc.abstractmethod
    def picture(self) -> Image.Image:
        """Read the picture, RGB."""

    def has(self, word: str) -> bool:
        """Return whether the item has a thing: ``mask``, ``truth``, ``source_prompt``, ``instruction``.

        Overridden where a data set knows without reading pictures.
        """
        found = getattr(self, word)
        return bool(found) if isinstance(found, str) else found() is not None

    def mask(self) -> Mask | None:
        """Return where the edit may change the picture, bool [H, W]; None where the data set does not say."""
        return None

    def truth(self) -> Image.Image | None:
        """Return the right result, RGB, of the picture's size; None where it is not known."""
        return None


class Dataset(Parameters, abc.ABC):
    """Holds the parameters of a data set: its folder, the part of it to take."""

    @abc.abstractmethod
    def items(self) -> Sequence[Item]:
        """Return the edits, in a fixed order, those of one picture one after the other.

        Everything is checked here, and every error comes at once, with file and row: later reading does not fail.

        Raises:
            InvalidInputError: missing pictures, wrong masks, odd sizes, missing columns, keys that are there twice.
        """

    @property
    @abc.abstractmethod
    def revision(self) -> str:
        """Return a hash of the data: of the table of edits, and of the pictures."""

    @property
    def radar(self) -> dict[str, str]:
        """Return for kinds of edit the one of :data:`headrouter.experiments.radar.KINDS` that it counts as."""
        return {}
