"""Read a ranking, best first, from the JSON file that a user names instead of a list."""

import json
import os
from typing import Any

from headrouter.files import LARGEST_TEXT, path_of, read_file


def ranking_of(value: Any, key: str, items: str) -> Any:
    """Return the list under ``key`` in the JSON file that ``value`` names; a value that is no path as it is.

    Args:
        value: A path, or a list.
        key: Key of the list in the file's object.
        items: Name of its items, for the message.

    Raises:
        HeadRouterError: there is no such file.
        ValueError: it has no such list.
    """
    if not isinstance(value, str | os.PathLike):
        return value
    text = read_file(path_of(value, "ranking"), "ranking", LARGEST_TEXT)
    try:
        content = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot read the ranking '{value}': {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise ValueError(f"the ranking '{value}' must be a JSON object with a list `{key}`, {items} best first")
    return content[key]
