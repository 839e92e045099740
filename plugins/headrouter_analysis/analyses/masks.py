"""Read a list of pictures with masks, prompts and words from a file."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, RootModel

from headrouter.config.configuration import Parameters, validate
from headrouter.config.yaml_document import read_yaml
from headrouter.errors import InvalidInputError
from headrouter.imaging.picture import load_picture
from headrouter.masks.reading import load_mask
from headrouter_analysis.analyses.blocks import Masked


class _Entry(Parameters):
    image: str
    mask: str
    prompt: str
    word: str


class _Entries(RootModel[Annotated[list[_Entry], Field(min_length=1)]]):
    pass


def read_masks(path: str | Path, seed: int = 0) -> list[Masked]:
    """Read the list, its pictures and its masks; paths are relative to it.

    Raises:
        InvalidInputError: a file that is not there or damaged, a missing or unknown field, a mask of another size, a word that is
            not in its prompt.
    """
    document = read_yaml(path)
    if not isinstance(document.data, list):
        raise InvalidInputError(f"'{path}' must be a list of entries with image, mask, prompt and word.")
    folder, items = Path(path).parent, []
    for number, entry in enumerate(validate(_Entries, document).root):
        picture = load_picture(folder / entry.image)
        mask = np.asarray(load_mask(folder / entry.mask), dtype=np.float64) / 255
        try:
            items.append(Masked(picture, mask, entry.prompt, entry.word, seed * 1_000_003 + number))
        except InvalidInputError as error:
            raise InvalidInputError(f"{document.locate((number,))}: {entry.image}: {error}") from error
    return items
