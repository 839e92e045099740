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
    for name, steps, blocks, everywhere, model in (
        ("layerverse-flux", 15, (1, 2, *range(51, 57)), (2,), "FLUX.1-dev"),
        ("layerverse-sd35-medium", 28, (0, 1, 3, 4, 12, 14, *range(17, 24)), (20, 21, 22, 23), "SD3.5-medium"),
    ):
        register(
            Preset(
                name=name,
                component=("method", "injection"),
                reference_steps=steps,
                values={"replace": "kivi", "tau": 1.0, "blocks": blocks, "everywhere": everywhere},
                provenance=f"the authors' release of LayerVerse (v-gen-ai/LayerVerse), on {model}",
                summary=f"Replace keys and values outside a mask in calibrated blocks, in some of them everywhere, on {model}.",
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
