"""Take a part of a data set: its first edits, or one of several shares for several machines."""

from collections.abc import Sequence

from headrouter.errors import InvalidInputError
from headrouter.experiments.dataset import Item


def select(
    items: Sequence[Item], *, limit: int | None = None, shard: tuple[int, int] = (1, 1), keys: Sequence[str] = ()
) -> list[Item]:
    """Return the items of a part of a run.

    Args:
        items: Of the data set.
        limit: The first edits alone.
        shard: Share i of n, counted from 1: whole pictures, so that their edits share an inversion. The shares of n are apart,
            and all items together.
        keys: Of the edits to take; of all if empty.

    Raises:
        InvalidInputError: a limit below 1, a share that there is not, or a key that no edit has.
    """
    if unknown := sorted(set(keys) - {item.key for item in items}):
        some = ", ".join(item.key for item in items[:3])
        raise InvalidInputError(
            f"`item` {unknown[0]!r} is no key of an edit of the data set, such as {some}. Check it."
        )
    if limit is not None and limit < 1:
        raise InvalidInputError(f"`limit` must be at least 1 edit (got {limit}).")
    share, shares = shard
    if not 1 <= share <= shares:
        raise InvalidInputError(f"`shard` must be i/n with i from 1 to n, such as 1/4 (got {share}/{shares}).")
    chosen = [item for item in items if not keys or item.key in keys]
    pictures = {key: place for place, key in enumerate(dict.fromkeys(item.picture_key for item in items))}
    return [item for item in chosen[:limit] if pictures[item.picture_key] % shares == share - 1]


def shard_of(text: str) -> tuple[int, int]:
    """Return a share from its text, ``2/4``.

    Raises:
        InvalidInputError: it is no such text.
    """
    share, slash, shares = text.partition("/")
    if not slash or not share.isdecimal() or not shares.isdecimal():
        raise InvalidInputError(f"`--shard` must be i/n, such as 1/4 (got {text!r}).")
    return int(share), int(shares)
