"""Compare what a checkpoint holds with what the run that continues from it needs."""

from collections.abc import Mapping
from typing import Any

import torch

from headrouter.errors import WeightsError


def surroundings(device: torch.device, workers: int) -> dict[str, Any]:
    """Return the settings of the machine that decide a step's last bits, by the names that users set."""
    threads = torch.get_num_threads() if device.type == "cpu" else None
    return {"workers": workers, "device": device.type, "OMP_NUM_THREADS": threads}


def refuse_misfit(ours: Mapping[str, Any], theirs: Mapping[str, Any], settings: str) -> None:
    """Refuse a checkpoint of another run than that whose state is ``ours``; ``settings`` names what must be equal there.

    Raises:
        WeightsError: naming each setting that differs, or else the first difference in form.
    """
    wanted, found = ours[settings], theirs.get(settings)
    if isinstance(found, Mapping) and (different := _differing(wanted, found)):
        raise WeightsError(
            f"The checkpoint is of another configuration: {different}. Give the settings that it was begun with, or start "
            "with another `--out`."
        )
    if difference := misfit(ours, theirs):
        raise WeightsError(f"The checkpoint is of another kind or version: {difference}. Start with another `--out`.")


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    told = [
        f"{name} {theirs[name]!r} instead of {wanted!r}" if name in theirs else f"no {name} instead of {wanted!r}"
        for name, wanted in ours.items()
        if name not in theirs or theirs[name] != wanted
    ]
    return "; ".join(
        [*told, *(f"{name} {theirs[name]!r}, which is unknown here" for name in theirs if name not in ours)]
    )


def misfit(ours: Any, theirs: Any, name: str = "", *, closed: bool = True) -> str | None:
    """Return the first difference in form between two states, for a message, or None.

    Compared are keys, numbers of elements, types, and shapes of tensors; values may differ. Keys that are numbers may be
    missing: an optimiser has no state of a weight that it never moved. Other keys than ``ours`` are a difference, except within
    lists, where versions of PyTorch keep further settings.
    """
    place = f"`{name}`" if name else "it"
    if _kind(ours) != _kind(theirs):
        return f"{place} is of type {_kind(theirs)} instead of {_kind(ours)}"
    if isinstance(ours, Mapping):
        if missing := [key for key in ours if isinstance(key, str) and key not in theirs]:
            return f"{place} lacks {missing[0]!r}"
        if closed and (more := [key for key in theirs if key not in ours]):
            return f"{place} has {more[0]!r}, which is unknown"
        pairs = {str(key): (ours[key], theirs[key]) for key in ours if key in theirs}
    elif isinstance(ours, list):
        if len(ours) != len(theirs):
            return f"{place} has {len(theirs)} elements instead of {len(ours)}"
        pairs = {str(number): pair for number, pair in enumerate(zip(ours, theirs, strict=True))}
    else:
        return None
    inner, shut = f"{name}." if name else "", isinstance(ours, Mapping)
    found = (misfit(*pair, f"{inner}{key}", closed=shut) for key, pair in pairs.items())
    return next((one for one in found if one), None)


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    return "dict" if isinstance(value, Mapping) else type(value).__name__
