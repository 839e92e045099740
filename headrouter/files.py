"""Files that are there whole or not at all."""

import uuid
from pathlib import Path

from headrouter.errors import InvalidInputError


def write_whole(path: Path, content: bytes) -> Path:
    """Write beside ``path`` and rename, so that nobody ever finds half a file there; an existing one is replaced.

    Raises:
        InvalidInputError: it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        raise InvalidInputError(f"cannot write '{path}': {error.strerror or error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return path
