"""Register local blending, which keeps the source outside a mask, arXiv:2508.07519."""

from collections.abc import Callable

from headrouter.plugins.specifications import MethodSpec, Preset, hookimpl

headrouter_api = 1


@hookimpl
def register_methods(register: Callable[[MethodSpec], None]) -> None:
    """Register local blending."""
    register(
        MethodSpec(
            name="local-blend",
            target="headrouter_blending.method:LocalBlend",
            provides={"acts"},
            summary="Keeps the source outside a mask, by default of attention to the changed words (arXiv:2508.07519).",
        )
    )


@hookimpl
def register_presets(register: Callable[[Preset], None]) -> None:
    """Register the released code's treatment of the edges of a map."""
    register(
        Preset(
            name="release",
            component=("method", "local-blend"),
            reference_steps=28,
            values={"mask": "words(edges='zeros')"},
            provenance="code released with arXiv:2508.07519",
            summary="Smooth maps as if zeros lay beyond their edges.",
        )
    )
