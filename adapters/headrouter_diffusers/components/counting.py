"""Count the weights of a model from its configuration, on the meta device, without allocating it."""

from collections.abc import Mapping
from typing import Any

import diffusers
import headrouter_diffusers.quiet  # noqa: F401
import torch
import transformers
from headrouter_diffusers.quiet import while_loading
from torch.nn import Linear


def count(kind: str, configuration: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers of weights that memory depends on: all, those in linear layers, and those of the largest layers.

    Args:
        kind: Name of a class of diffusers or transformers.
        configuration: What differs from the defaults of the class.

    Returns:
        ``weights``: all of them, shared ones once. ``linear``: those of linear layers, which formats of 8 and 4 bits shrink, but
        not of a language model's last layer, which they leave as it is.
        ``largest_linear``, ``largest_other``: those of the largest single layer, linear and not, which offloading by groups
        brings to the device at once.
    """
    found: Any = getattr(diffusers, kind, None) or getattr(transformers, kind)
    with torch.device("meta"), while_loading():
        if issubclass(found, diffusers.ModelMixin):
            model = found.from_config(dict(configuration))
        else:
            model = found(found.config_class.from_dict(dict(configuration)))
    sizes: dict[bool, dict[str, int]] = {True: {"": 0}, False: {"": 0}}
    for name, module in model.named_modules():
        if not list(module.children()):
            own = sum(weight.numel() for weight in module.parameters(recurse=False))
            sizes[isinstance(module, Linear) and not name.endswith("lm_head")][name] = own
    return {
        "weights": sum(weight.numel() for weight in model.parameters()),
        "linear": sum(sizes[True].values()),
        "largest_linear": max(sizes[True].values()),
        "largest_other": max(sizes[False].values()),
    }
