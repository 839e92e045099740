"""Register injection, which replaces parts of the edit's attention by the source's, arXiv:2508.07519."""

from collections.abc import Callable

from headrouter.plugins.specifications import MethodSpec, Preset, hookimpl

headrouter_api = 1


@hookimpl
def register_methods(register: Callable[[MethodSpec], None]) -> None:
    """Register injection."""
    register(
        MethodSpec(
            name="injection",
            target="headrouter_injection.method:Injection",
            provides={"acts"},
            requires={"joint-attention"},
            summary="Replaces queries, keys or regions of attention by the source's in the first steps (arXiv:2508.07519).",
        )
    )


@hookimpl
def register_presets(register: Callable[[Preset], None]) -> None:
    """Register the release's branches, and distilled models, for which replacement in every block is too close."""
    register(
        Preset(
            name="release",
            component=("method", "injection"),
            reference_steps=28,
            values={"branches": "conditional"},
            provenance="code released with arXiv:2508.07519",
            summary="Replace in the conditional branch of guidance only.",
        )
    )
    for name, first, model in (
        ("injection-schnell", 38, "FLUX.1-schnell"),
        ("injection-turbo", 30, "SD3.5-large turbo"),
    ):
        register(
            Preset(
                name=name,
                component=("method", "injection"),
                reference_steps=4,
                values={"first": first},
                provenance=f"arXiv:2508.07519, constants for {model}",
                summary=f"Replace in the first {first} blocks only, for {model}.",
            )
        )
