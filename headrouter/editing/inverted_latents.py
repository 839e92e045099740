"""Keep inverted latents, a picture's latents at noise with their identity, in memory or in one file.

The file is safetensors: the tensor ``latents``, and in the metadata, under ``headrouter``, JSON with the format, the identity, the
cost, and the hash of identity and latents.
"""

import hashlib
import json
import math
import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from headrouter import renamed
from headrouter.config.configuration import Parameters, validate
from headrouter.editing.assembly import name_of
from headrouter.editing.record import Record
from headrouter.editing.request import Settled
from headrouter.editing.saving import save_together
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.files import path_of, unreadable
from headrouter.models.backbone import Backbone
from headrouter.sampling.cost import Cost

FORMAT: Final = 3
SUFFIX: Final = ".safetensors"
LARGEST: Final = 1 << 30
"""Bytes of latents that are read, far more than the largest picture has."""
_LARGEST_HEADER: Final = 1 << 20


class _Cost(Parameters):
    calls: int = Field(ge=0, lt=2**63)
    rows: int = Field(ge=0, lt=2**63)
    seconds: float = Field(ge=0)
    peak_memory: int = Field(ge=0, lt=2**63)


class _Record(Parameters):
    format: int
    identity: Record
    cost: _Cost
    sha256: str


@final
@dataclass(frozen=True, eq=False)
class InvertedLatents:
    """Holds a picture taken to noise, for several edits.

    Attributes:
        latents: Float32 ``[1, channels, h, w]``; of an inversion that keeps its walk ``[1, steps + 1, channels, h, w]``.
        identity: The record of the inversion: picture, prompts, weights by content, size, steps, seed, the inversion with those
            of its parameters that an inversion depends on, and the code of headrouter and plug-ins.
        cost: Cost of the inversion.
    """

    latents: Tensor = field(repr=False)
    identity: Record
    cost: Cost

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file, whole or not at all, and return its path. A link is followed.

        Raises:
            InvalidInputError: the name does not end in ``.safetensors``, or cannot be written.
        """
        path = path_of(path, "path")
        if path.suffix.lower() != SUFFIX:
            raise InvalidInputError(f"`path` of a kept inversion must end in {SUFFIX} (got '{path}').")
        place = Path(os.path.realpath(path))
        save_together(place.parent, {place.name: self.packed()})
        return path

    def packed(self, also: Mapping[str, str] | None = None) -> bytes:
        """Return the content of the file, with further entries of its metadata."""
        latents = self.latents.detach().to("cpu", torch.float32).contiguous()
        record = {
            "format": FORMAT,
            "identity": self.identity.plain(),
            "cost": asdict(self.cost),
            "sha256": _hash(self.identity, latents),
        }
        return save({"latents": latents}, {"headrouter": json.dumps(record), **(also or {})})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "InvertedLatents":
        """Read what :meth:`save` wrote.

        Raises:
            InvalidInputError: not there, damaged, of another format, or something else than a kept inversion.
        """
        path = path_of(path, "start")
        if not path.is_file():
            raise InvalidInputError(f"`start` '{path}' is not a file; give a file that `InvertedLatents.save` wrote.")
        if path.stat().st_size > LARGEST + _LARGEST_HEADER:
            raise InvalidInputError(
                f"`start` '{path}' has {path.stat().st_size} bytes, more than any picture's; invert the picture again."
            )
        try:
            path.open("rb").close()  # of a file that may not be read, safetensors says that there is none
            with safe_open(path, framework="pt") as file:
                record = _record(path, (file.metadata() or {}).get("headrouter"), "latents" in file.keys())  # noqa: SIM118
                _check_latents(path, file.get_slice("latents"))
                latents = file.get_tensor("latents")
        except OSError as error:
            raise InvalidInputError(unreadable(path, error)) from error
        except SafetensorError as error:
            raise InvalidInputError(
                f"`start` '{path}' is damaged or no safetensors file: {error}; invert the picture again."
            ) from error
        if not torch.isfinite(latents).all():
            raise InvalidInputError(
                f"`start` '{path}' is damaged: its latents are not finite float32 numbers; invert the picture again."
            )
        if record.sha256 != _hash(record.identity, latents):
            raise InvalidInputError(
                f"`start` '{path}' is damaged: its latents are not those that were written with its identity; invert again."
            )
        return cls(latents, record.identity, Cost(**record.cost.model_dump()))

    def refuse_unless(self, identity: Record, shape: tuple[int, ...]) -> None:
        """Refuse an edit that this inversion does not belong to.

        Raises:
            InvalidInputError: naming what differs, and both values where they are short.
        """
        if told := ", ".join(self.identity.differences(identity)):
            raise InvalidInputError(f"`start` does not fit what is asked, by its {told}; invert this picture again.")
        if tuple(self.latents.shape) != shape:
            raise InvalidInputError(
                f"`start` holds latents {list(self.latents.shape)}, this run needs {list(shape)}; invert again."
            )


def starts(
    start: InvertedLatents | str | os.PathLike[str],
    every: Sequence[Settled],
    backbone: Backbone,
    loaded: Mapping[str, Any],
    weights: str,
) -> list[Tensor]:
    """Return kept latents for each seed of an edit, after refusing those of something else.

    Args:
        start: What was kept, or its file.
        every: The edit of one picture.
        backbone, loaded, weights: See :meth:`headrouter.editing.record.Record.of_inversion`.

    Raises:
        InvalidInputError: several pictures, or latents that do not belong to the edit.
        IncompatibleError: the inversion starts from no inverted latents.
    """
    kept = start if isinstance(start, InvertedLatents) else InvertedLatents.load(start)
    if len(every) > 1:
        raise InvalidInputError(f"`start` holds one picture, got {len(every)}; edit each from its own.")
    (given,) = every
    if not given.plan.inversion.inverts:
        raise IncompatibleError(
            f"`start` would have no effect: `inversion` {name_of('inversion', given.plan.inversion)!r} starts from no inversion. "
            "Leave it out."
        )
    for seed in given.request.seed:
        identity = Record.of_inversion(given, seed, backbone, loaded, weights)
        walk = (given.plan.steps + 1,) if given.plan.inversion.keeps_walk else ()
        kept.refuse_unless(identity, (1, *walk, *backbone.latent_shape(*given.size)))
    return [kept.latents for _ in given.request.seed]


def _record(path: Path, text: str | None, has_latents: bool) -> _Record:
    """Read the metadata."""
    if text is None or not has_latents:
        raise InvalidInputError(
            f"`start` '{path}' holds something else than a kept inversion; give a file of `InvertedLatents.save`."
        )
    try:
        content = json.loads(text)
        written = content["format"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"`start` '{path}' is damaged: {error!r} in its metadata; invert the picture again."
        ) from error
    if type(written) is int and written in (1, 2):
        raise InvalidInputError(
            f"`start` '{path}' was kept by an earlier version, which did not note its code; invert the picture again."
        )
    if type(written) is not int or written != FORMAT:
        raise InvalidInputError(
            f"`start` '{path}' has format {reprlib.repr(written)}, this headrouter reads {FORMAT}; invert the picture again."
        )
    try:
        return validate(_Record, content)
    except InvalidInputError as error:
        raise InvalidInputError(f"`start` '{path}' is damaged, in its metadata: {error}") from error


def _check_latents(path: Path, latents: Any) -> None:
    """Refuse latents of a wrong type, shape or size by the file's header, before they are read."""
    shape = latents.get_shape()
    if latents.get_dtype() != "F32":
        raise InvalidInputError(
            f"`start` '{path}' is damaged: its latents are not finite float32 numbers; invert the picture again."
        )
    if len(shape) not in (4, 5) or shape[0] != 1 or 0 in shape:
        raise InvalidInputError(
            f"`start` '{path}' is damaged: its latents have the shape {reprlib.repr(shape)}, not [1, channels, h, w], with or "
            "without steps; invert the picture again."
        )
    if 4 * math.prod(shape) > LARGEST:
        raise InvalidInputError(
            f"`start` '{path}' holds latents {shape}, more than {LARGEST} bytes; invert the picture again."
        )


def _hash(identity: Record, latents: Tensor) -> str:
    digest = hashlib.sha256(json.dumps(identity.plain(), sort_keys=True).encode())
    digest.update(latents.contiguous().numpy().tobytes())
    return digest.hexdigest()


if not TYPE_CHECKING:
    __getattr__ = renamed.names(__name__, Inverted="InvertedLatents")
