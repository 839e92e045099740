"""Inversions that are kept: a picture's latents at noise, and what they belong to, in memory or in one file.

The file is safetensors: the tensor ``latents``, and in the metadata, under ``headrouter``, JSON with the format, the identity, the
cost and the hash of the latents.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, final

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from headrouter.configuration import Parameters, validate
from headrouter.cost import Cost
from headrouter.errors import InvalidInputError
from headrouter.files import path_of, write_whole

FORMAT: Final = 1
SUFFIX: Final = ".safetensors"
_LONGEST_VALUE: Final = 40


class _Cost(Parameters):
    calls: int = Field(ge=0)
    rows: int = Field(ge=0)
    seconds: float = Field(ge=0)
    peak_memory: int = Field(ge=0)


class _Record(Parameters):
    format: int
    identity: dict[str, Any]
    cost: _Cost
    sha256: str


@final
@dataclass(frozen=True, eq=False)
class Inverted:
    """A picture taken to noise, for several edits.

    Attributes:
        latents: Float32 ``[1, channels, h, w]``.
        identity: What they belong to, by name: picture, prompts, model, size, steps, seed, the trajectory and those of its
            parameters that an inversion depends on, and the version of headrouter. Plain values.
        cost: What the inversion took.
    """

    latents: Tensor = field(repr=False)
    identity: Mapping[str, Any]
    cost: Cost

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file, whole or not at all.

        Raises:
            InvalidInputError: the name does not end in ``.safetensors``, or cannot be written.
        """
        path = path_of(path, "path")
        if path.suffix.lower() != SUFFIX:
            raise InvalidInputError(f"`path` of a kept inversion must end in {SUFFIX} (got '{path}').")
        latents = self.latents.detach().to("cpu", torch.float32).contiguous()
        record = {
            "format": FORMAT,
            "identity": dict(self.identity),
            "cost": asdict(self.cost),
            "sha256": _hash(latents),
        }
        return write_whole(path, save({"latents": latents}, {"headrouter": json.dumps(record)}))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Inverted":
        """Read what :meth:`save` wrote.

        Raises:
            InvalidInputError: not there, damaged, of another format, or something else than a kept inversion.
        """
        path = path_of(path, "inversion")
        if not path.is_file():
            raise InvalidInputError(f"`inversion` '{path}' is not a file; give what `Inverted.save` wrote.")
        try:
            with safe_open(path, framework="pt") as file:
                text = (file.metadata() or {}).get("headrouter")
                latents = file.get_tensor("latents") if text is not None and "latents" in file.keys() else None  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InvalidInputError(f"`inversion` '{path}' is damaged or no safetensors file: {error}.") from error
        if text is None or latents is None:
            raise InvalidInputError(f"`inversion` '{path}' holds something else than a kept inversion.")
        try:
            content = json.loads(text)
            written = content["format"]
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(f"`inversion` '{path}' is damaged: {error!r} in its metadata.") from error
        if written != FORMAT:
            raise InvalidInputError(f"`inversion` '{path}' has format {written!r}, this headrouter reads {FORMAT}.")
        try:
            record = validate(_Record, content)
        except InvalidInputError as error:
            raise InvalidInputError(f"`inversion` '{path}' is damaged, in its metadata: {error}") from error
        if latents.dtype != torch.float32 or not torch.isfinite(latents).all():
            raise InvalidInputError(f"`inversion` '{path}' is damaged: its latents are not finite float32 numbers.")
        if record.sha256 != _hash(latents):
            raise InvalidInputError(f"`inversion` '{path}' is damaged: its latents are not those that were written.")
        return cls(latents, record.identity, Cost(**record.cost.model_dump()))

    def refuse_unless(self, identity: Mapping[str, Any], shape: tuple[int, ...]) -> None:
        """Refuse to stand in for another inversion.

        Raises:
            InvalidInputError: naming what differs, and both values where they are short.
        """
        names = [name for name in {**identity, **self.identity} if self.identity.get(name) != identity.get(name)]
        if names:
            told = ", ".join(f"{name}{_both(self.identity.get(name), identity.get(name))}" for name in names)
            raise InvalidInputError(f"`inversion` was made with another {told}; invert this picture again.")
        if tuple(self.latents.shape) != shape:
            raise InvalidInputError(
                f"`inversion` holds latents {list(self.latents.shape)}, this run needs {list(shape)}; invert again."
            )


def _hash(latents: Tensor) -> str:
    return hashlib.sha256(latents.contiguous().numpy().tobytes()).hexdigest()


def _both(theirs: object, ours: object) -> str:
    values = repr(theirs), repr(ours)
    return "" if max(map(len, values)) > _LONGEST_VALUE else f" ({values[0]}, here {values[1]})"
