"""Provide the tests of a plug-in: checks of every kind of part, a small model, known inversions.

>>> from headrouter.testing import BackboneConformance, BackboneSubject
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrouter.testing.conformance import (
        BackboneConformance,
        DatasetConformance,
        InversionConformance,
        MaskConformance,
        MethodConformance,
        MetricConformance,
        OperatorConformance,
        PluginConformance,
    )
    from headrouter.testing.subjects import (
        BackboneSubject,
        DatasetSubject,
        Generation,
        InversionSubject,
        MaskSubject,
        MethodSubject,
        MetricSubject,
        OperatorSubject,
        PluginSubject,
        Reference,
    )

__all__ = [
    "BackboneConformance",
    "BackboneSubject",
    "DatasetConformance",
    "DatasetSubject",
    "Generation",
    "InversionConformance",
    "InversionSubject",
    "MaskConformance",
    "MaskSubject",
    "MethodConformance",
    "MethodSubject",
    "MetricConformance",
    "MetricSubject",
    "OperatorConformance",
    "OperatorSubject",
    "PluginConformance",
    "PluginSubject",
    "Reference",
]

if "pytest" in sys.modules:  # so that a failing assert in a check says what the values were
    sys.modules["pytest"].register_assert_rewrite(f"{__name__}.checks")


def __getattr__(name: str) -> Any:
    """Import a name on first use: the classes need pytest, the toy does not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'conformance' if name.endswith('Conformance') else 'subjects'}"), name)
