"""Declare the hooks that a plug-in may implement; docs/plugins/hooks.md describes each for authors.

Implementations are called one by one, so that each failure and each description is known to belong to one plug-in. No
hook is called while an edit runs: there, plug-ins take part through the interfaces of their classes.
"""

from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Callable, Mapping
from typing import Any

import pluggy

from headrouter.plugins.specifications import (
    BackboneSpec,
    DatasetSpec,
    EditorSpec,
    ExecutorSpec,
    InversionSpec,
    MaskSpec,
    MethodSpec,
    MetricSpec,
    Model,
    OperatorSpec,
    Preset,
)

hookspec = pluggy.HookspecMarker("headrouter")


@hookspec
def register_backbones(register: Callable[[BackboneSpec], None]) -> None:
    """Call ``register`` with each backbone the plug-in brings."""


@hookspec
def register_inversions(register: Callable[[InversionSpec], None]) -> None:
    """Call ``register`` with each inversion the plug-in brings."""


@hookspec
def register_velocity_operators(register: Callable[[OperatorSpec], None]) -> None:
    """Call ``register`` with each velocity operator the plug-in brings."""


@hookspec
def register_methods(register: Callable[[MethodSpec], None]) -> None:
    """Call ``register`` with each method the plug-in brings."""


@hookspec
def register_masks(register: Callable[[MaskSpec], None]) -> None:
    """Call ``register`` with each mask the plug-in brings."""


@hookspec
def register_models(register: Callable[[Model], None]) -> None:
    """Call ``register`` with each model the plug-in knows of, for its own backbones or for others."""


@hookspec
def register_presets(register: Callable[[Preset], None]) -> None:
    """Call ``register`` with each preset the plug-in brings, for its own components or for others."""


@hookspec
def register_datasets(register: Callable[[DatasetSpec], None]) -> None:
    """Call ``register`` with each data set the plug-in brings."""


@hookspec
def register_metrics(register: Callable[[MetricSpec], None]) -> None:
    """Call ``register`` with each metric the plug-in brings."""


@hookspec
def register_editors(register: Callable[[EditorSpec], None]) -> None:
    """Call ``register`` with each editor the plug-in brings to compare with."""


@hookspec
def register_executors(register: Callable[[ExecutorSpec], None]) -> None:
    """Call ``register`` with each executor of experiments the plug-in brings."""


@hookspec
def register_commands(subcommands: "_SubParsersAction[ArgumentParser]") -> None:
    """Add subcommands; each sets the default ``run``, a function from the parsed arguments to an exit code."""


@hookspec(firstresult=True)
def identify_backbone(model_index: Mapping[str, Any], source: str) -> str | None:
    """Say which backbone runs the model that this ``model_index.json`` describes, or None."""
