"""Make keys, which name files, of the names of pictures."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath


def slug(text: str) -> str:
    """Return a text with a hyphen for whatever cannot be in a key.

    >>> slug("a  cat's.toy"), slug("…")
    ('a-cat-s.toy', 'x')
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.") or "x"


@dataclass(slots=True)
class Keys:
    """Gives each picture and each edit a key, from the picture's name and source prompt, in the order of the table.

    >>> keys = Keys()
    >>> keys.of("in/cat.png", "a cat"), keys.of("in/cat.png", "a cat"), keys.of("in/cat.png", "a tabby"), keys.of("out/cat.png", "")
    (('cat', 'cat-1'), ('cat', 'cat-2'), ('cat-b', 'cat-b-1'), ('cat-c', 'cat-c-1'))
    """

    pictures: dict[tuple[str, str], str] = field(default_factory=dict)
    edits: Counter[str] = field(default_factory=Counter)

    def of(self, picture: str, source_prompt: str) -> tuple[str, str]:
        """Return the picture's key and the edit's; a picture with two source prompts counts as two."""
        whole = (picture, source_prompt)
        if whole not in self.pictures:
            stem, taken = slug(PurePosixPath(picture).stem), {key.casefold() for key in self.pictures.values()}
            letters = (
                "",
                *(f"-{chr(code)}" for code in range(ord("b"), ord("z") + 1)),
                *(f"-x{n}" for n in range(10_000)),
            )
            self.pictures[whole] = next(f"{stem}{more}" for more in letters if f"{stem}{more}".casefold() not in taken)
        key = self.pictures[whole]
        self.edits[key] += 1
        return key, f"{key}-{self.edits[key]}"
