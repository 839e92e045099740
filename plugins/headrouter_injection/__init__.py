"""Injection: parts of the source's attention in the place of the edit's, arXiv:2508.07519."""

from collections.abc import Callable

from headrouter.plugins.specifications import MethodSpec, Preset, hookimpl

headrouter_api = 1


@hookimpl
def register_methods(register: Callable[[MethodSpec], None]) -> None:
    """Injection."""
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
    """The release's branches; and models distilled to few steps, held too close to the source if every block replaces."""
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
