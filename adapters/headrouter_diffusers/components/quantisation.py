"""Quantise weights while a pipeline loads: each format by one name, refused where it cannot work.

bitsandbytes' 4-bit NormalFloat and LLM.int8 (arXiv:2305.14314, arXiv:2208.07339) and torchao's weight-only int8 and float8, as
diffusers and transformers load them.
"""

import logging
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from packaging.version import Version
from torch.nn import Module

from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter_diffusers.components.index import read_json
from headrouter_diffusers.parameters import DiffusersParameters

_PACKAGES = {"nf4": "bitsandbytes", "int8": "bitsandbytes", "int8-torchao": "torchao", "fp8": "torchao"}
_OLDEST = {"bitsandbytes": "0.48", "torchao": "0.16"}


def formats_of(parameters: DiffusersParameters, large: Collection[str], device: torch.device) -> dict[str, str]:
    """Return the format of each component that is quantised; a format alone means those in ``large``.

    Raises:
        InvalidInputError: the format cannot work here: a package, the device or the offloading is in its way.
    """
    asked = parameters.quantize
    formats = dict.fromkeys(large, asked) if isinstance(asked, str) else dict(asked or {})
    for component, name in formats.items():
        _refuse_impossible(component, str(name), parameters, device)
    return {component: str(name) for component, name in formats.items()}


def _refuse_impossible(component: str, name: str, parameters: DiffusersParameters, device: torch.device) -> None:
    package = _PACKAGES[name]
    if component == "vae":
        raise InvalidInputError(
            "`quantize` names 'vae', and the autoencoder stays in float32: a picture passes through it twice, and it is"
            " small. Leave it out."
        )
    try:
        found = version(package)
    except PackageNotFoundError:
        found = None
    if found is None or Version(found) < Version(_OLDEST[package]):
        raise InvalidInputError(
            f"`quantize` {name!r} needs the package {package} {_OLDEST[package]} or newer, and"
            f" {'it is not installed' if found is None else f'{found} is installed'}. Run `pip install -U {package}`."
        )
    if package == "bitsandbytes" and component == "transformer" and device.type == "cpu":
        raise InvalidInputError(
            f"`quantize` {name!r} of the transformer needs an accelerator: diffusers quantises with bitsandbytes there"
            " only, and this run computes on the CPU. Use 'int8-torchao' or 'fp8'."
        )
    if package == "bitsandbytes" and parameters.offload == "group":
        raise InvalidInputError(
            f"`offload` 'group' cannot move weights that bitsandbytes quantised (`quantize` {name!r}). Use 'model'."
        )
    if name == "fp8":
        try:
            torch.empty(1, dtype=torch.float32, device=device).to(torch.float8_e4m3fn).float()
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise InvalidInputError(
                f"`quantize` 'fp8' needs numbers of 8 bits that {device} does not have ({error}). Use 'int8-torchao'."
            ) from error


def configurations(
    formats: Mapping[str, str],
    parameters: DiffusersParameters,
    folder: Path,
    kinds: Mapping[str, type],
    dtype: torch.dtype,
) -> dict[str, Any]:
    """Return the configuration, for diffusers or transformers, of each component that is quantised.

    Args:
        formats: From :func:`formats_of`.
        parameters: Whether the components were named one by one.
        folder: Of the pipeline.
        kinds: Classes of the components that are loaded.
        dtype: Precision of the computation.

    Raises:
        InvalidInputError: a named component is not there, or no model.
        IncompatibleError: its weights are quantised already.
    """
    models = {name: kind for name, kind in kinds.items() if issubclass(kind, Module)}
    found = {}
    for component, name in formats.items():
        if component not in models:
            if isinstance(parameters.quantize, str):
                continue
            known = ", ".join(sorted(models.keys() - {"vae"}))
            raise InvalidInputError(f"`quantize` names {component!r}, which is not loaded here. There are: {known}.")
        if "quantization_config" in read_json(folder / component / "config.json"):
            raise IncompatibleError(
                f"`quantize` {name!r}: the weights of {component!r} in {folder} are quantised already. Leave it out."
            )
        library = diffusers if issubclass(models[component], diffusers.ModelMixin) else transformers
        found[component] = _configuration(name, library, dtype)
    return found


def _configuration(name: str, library: Any, dtype: torch.dtype) -> Any:
    match name:
        case "nf4":
            return library.BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
            )
        case "int8":
            logging.getLogger("bitsandbytes.autograd._functions").addFilter(_is_news)
            return library.BitsAndBytesConfig(load_in_8bit=True)
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

    return library.TorchAoConfig(Int8WeightOnlyConfig() if name == "int8-torchao" else Float8WeightOnlyConfig())


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a message of bitsandbytes says more than what its int8 does in every layer of every step."""
    return not record.getMessage().startswith("MatMul8bitLt: inputs will be cast")


def loading_on(device: torch.device) -> AbstractContextManager[object]:
    """Make bitsandbytes, which takes the current CUDA device, quantise on ``device`` within a context."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
