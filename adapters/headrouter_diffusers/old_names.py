"""Names that the hooks of adapters had before they were public: found for one release, with a warning."""

import warnings
from typing import Any, Final

from headrouter.models.backbone import BackboneParameters, Defaults

_RENAMED: Final = {
    f"_{name}": name
    for name in (
        "patch",
        "guided",
        "own_defaults",
        "text_parts",
        "segments",
        "encode_prompt",
        "set_steps",
        "predict",
        "conditioning",
        "parts",
        "parameters",
    )
}


def take(kind: type) -> None:
    """Give the hooks that a class defines by their old names their new ones."""
    for old, new in _RENAMED.items():
        if old in vars(kind) and new not in vars(kind):
            _warn(kind, old, new, stacklevel=4)
            setattr(kind, new, vars(kind)[old])


def get(backbone: Any, name: str) -> Any:
    """Return what ``name`` was the old name of.

    Raises:
        AttributeError: it was none.
    """
    if name not in _RENAMED:
        raise AttributeError(f"{type(backbone).__name__!r} object has no attribute {name!r}", name=name, obj=backbone)
    _warn(type(backbone), name, _RENAMED[name], stacklevel=4)
    return getattr(backbone, _RENAMED[name])


def parameters_of(
    backbone: Any, parameters: BackboneParameters | Defaults | None, defaults: Defaults | None
) -> tuple[BackboneParameters | None, Defaults | None]:
    """Return parameters and defaults, also as an adapter gave them that kept its parameters by itself."""
    if "_parameters" in vars(backbone):
        _warn(type(backbone), "_parameters", "parameters", stacklevel=5)
        given = parameters if isinstance(parameters, Defaults) else defaults
        return vars(backbone).pop("_parameters"), given
    if isinstance(parameters, Defaults):
        return None, parameters
    return parameters, defaults


def _warn(kind: type, old: str, new: str, stacklevel: int) -> None:
    warnings.warn(
        f"`{old}` of {kind.__name__} is called `{new}` now, and is not found by its old name in the next release. Rename it.",
        DeprecationWarning,
        stacklevel=stacklevel,
    )
