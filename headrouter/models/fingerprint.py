"""Hash weights by content, wherever they lie, at about the price of one model call."""

import functools
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import Module, Parameter

from headrouter import compat

_WHOLE: Final = 1 << 16
"""Bytes of a tensor that are hashed one by one; of a larger one the sums of its rows and columns are."""
_WORD: Final = 8
DEVICES: Final = frozenset({"cpu", "cuda"})
"""Types of devices that sum 64-bit words themselves."""
_PROVENANCE: Final = frozenset({"transformers_version", "architectures", "dtype", "torch_dtype"})


@torch.no_grad()
def fingerprint(tensors: Iterable[tuple[str, Tensor]], settings: object = None) -> str:
    """Return 16 hexadecimal digits that change with any name, shape or value of the tensors, and with the settings.

    Floating-point numbers count as bfloat16, so that weights loaded in float32 and in bfloat16 are the same weights. A large tensor
    is read as a matrix of 64-bit words, and enters by the sums of its rows and of its columns, modulo 2⁶⁴, which any device forms
    exactly and about as fast as it reads memory. That tells weights apart; it is no proof against forgery.

    Args:
        tensors: In any order.
        settings: Plain data, or its text of :func:`text_of` as bytes.

    >>> one, two = torch.zeros(3), torch.ones(3)
    >>> fingerprint([("a", one), ("b", two)]) == fingerprint([("b", two.bfloat16()), ("a", one)])
    True
    >>> fingerprint([("a", one), ("b", two)]) == fingerprint([("a", two), ("b", one)])
    False
    """
    digest = hashlib.sha256(settings if isinstance(settings, bytes) else text_of(settings).encode())
    digests, small = list[tuple[str, bytes]](), defaultdict[object, list[tuple[str, Tensor]]](list)
    for name, tensor in (part for pair in tensors for part in parts_of(*pair)):
        if tensor.numel() * (2 if tensor.is_floating_point() else tensor.element_size()) <= _WHOLE:
            small[tensor.dtype, tensor.device].append((name, tensor))
        else:
            digests.append((name, _digest(tensor)))
    for alike in small.values():
        names, every = zip(*alike, strict=True)
        digests += zip(names, _digests(every), strict=True)
    for name, content in sorted(digests):
        digest.update(f"{name}\n".encode() + content)
    return digest.hexdigest()[:16]


def text_of(settings: object) -> str:
    """Return the text by which plain data is hashed; of other things the name of their class."""
    return json.dumps(settings, sort_keys=True, default=lambda thing: type(thing).__name__)


def tensors_of(module: Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Return a model's parameters and buffers, those that are not saved and what quantisation keeps beside them too."""
    for name, value in compat.state_of(module).items():
        if isinstance(value, Tensor):
            yield prefix + name.replace("_orig_mod.", ""), value  # the mark of a compiled part


def modules_of(thing: object) -> dict[str, Module]:
    """Return the models that an object holds, by path: itself, its attributes, and theirs."""
    return {path: module for module, path in {module: path for path, module in _walk(thing, "backbone", 2)}.items()}


def settings_of(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a component's configuration, and those within it, without what says only where it came from and what wrote it."""
    return {
        str(name): settings_of(value) if isinstance(value, Mapping) else value
        for name, value in configuration.items()
        if not str(name).startswith("_") and name not in _PROVENANCE
    }


def folder_fingerprint(folder: Path) -> str:
    """Return the fingerprint of a pipeline's folder without loading it, however its tensors are spread over files."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    settings: dict[str, Any] = {}
    for file in files:
        name = file.relative_to(folder).as_posix()
        if file.name in ("config.json", "model_index.json", "scheduler_config.json"):
            settings[name] = settings_of(json.loads(file.read_text(encoding="utf-8")))
        elif file.suffix not in (".safetensors", ".md", ".sha256") and not file.name.endswith(".index.json"):
            settings[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return fingerprint(_read(folder, [file for file in files if file.suffix == ".safetensors"]), settings)


def _read(folder: Path, files: Iterable[Path]) -> Iterator[tuple[str, Tensor]]:
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                yield f"{path.parent.relative_to(folder).as_posix()}/{name}", file.get_tensor(name)


def _walk(thing: object, path: str, depth: int) -> Iterator[tuple[str, Module]]:
    if isinstance(thing, Module):
        yield path, thing
    elif depth:
        attributes: Mapping[str, Any] = getattr(thing, "__dict__", {})
        for name, value in attributes.items():
            yield from _walk(value, f"{path}.{name}", depth - 1)


def parts_of(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Return a tensor, or the tensors that it is made of, as quantised ones are."""
    if type(tensor) in (Tensor, Parameter):
        yield name, tensor
        return
    if not hasattr(tensor, "__tensor_flatten__"):
        yield name, tensor.detach().as_subclass(Tensor)
        return
    for inner in tensor.__tensor_flatten__()[0]:
        yield from parts_of(f"{name}.{inner}", getattr(tensor, inner))


def _plain(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor in a row, those with a point as bfloat16."""
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return (real.to(torch.bfloat16) if real.is_floating_point() else real).reshape(-1)


def _begun(tensor: Tensor, plain: Tensor) -> "hashlib._Hash":
    return _begun_by(tensor.shape, plain.dtype).copy()


@functools.lru_cache(4096)
def _begun_by(shape: torch.Size, dtype: torch.dtype) -> "hashlib._Hash":
    return hashlib.sha256(f"{list(shape)} {dtype}\n".encode())


def _digests(tensors: Sequence[Tensor]) -> Iterator[bytes]:
    """Yield the digest of each of some small tensors of one number type and device, converted and fetched together."""
    joined = tensors[0].element_size() > 1  # PyTorch cannot join numbers of eight bits everywhere
    parts = [torch.cat([tensor.reshape(-1) for tensor in tensors])] if joined else tensors
    content = b"".join(_bytes(_plain(part)) for part in parts)
    numbers = sum(tensor.numel() for tensor in tensors)
    size, place, like = len(content) // max(numbers, 1), 0, _plain(tensors[0])
    for tensor in tensors:
        digest, end = _begun(tensor, like), place + size * tensor.numel()
        digest.update(memoryview(content)[place:end])
        yield digest.digest()
        place = end


def _digest(tensor: Tensor) -> bytes:
    """Return the digest of a tensor; of a large one, by the sums of its rows and of its columns."""
    flat = _plain(tensor)
    if flat.device.type not in DEVICES:
        flat = flat.cpu()
    digest = _begun(tensor, flat)
    if flat.numel() * flat.element_size() <= _WHOLE:
        digest.update(_bytes(flat))
        return digest.digest()
    step = _WORD // flat.element_size()
    if flat.storage_offset() % step:
        flat = flat.clone()
    words = flat[: flat.numel() // step * step].view(torch.int64)
    columns = 1 << (words.numel().bit_length() // 2)
    matrix = words[: words.numel() // columns * columns].view(-1, columns)
    for part in (matrix.sum(dim=0), matrix.sum(dim=1), flat[matrix.numel() * step :]):
        digest.update(_bytes(part))
    return digest.digest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes()
