"""Registers the parts of the core itself: the HeadRouter method, the absence of a method, the executor of this machine."""

from collections.abc import Callable

from headrouter.plugins.specifications import ExecutorSpec, MethodSpec, Preset, hookimpl

headrouter_api = 1


@hookimpl
def register_methods(register: Callable[[MethodSpec], None]) -> None:
    """Register HeadRouter, its three parts, no method, and word maps."""
    register(
        MethodSpec(
            name="headrouter",
            target="headrouter.methods.head_router.method:HeadRouter",
            provides={"acts"},
            requires={"joint-attention"},
            summary="Routes attention heads and refines text and image tokens (arXiv:2411.15034).",
        )
    )
    for name, target, needs, summary in (
        (
            "head-routing",
            "head_routing:HeadRouting",
            "joint-attention",
            "Routes attention heads: HeadRouter's first part.",
        ),
        (
            "image-tokens",
            "image_tokens:ImageTokenRefinement",
            "joint-attention",
            "Refines image tokens by the text: HeadRouter's second part.",
        ),
        ("text-mixing", "text_mixing:TextMixing", "text-stream", "Mixes text between blocks: HeadRouter's third part."),
    ):
        register(
            MethodSpec(
                name=name,
                target=f"headrouter.methods.head_router.{target}",
                provides={"acts"},
                requires={needs},
                summary=f"{summary[:-1]} (arXiv:2411.15034).",
            )
        )
    register(
        MethodSpec(
            name="none",
            target="headrouter.methods.head_router.method:NoMethod",
            summary="Steers nothing: the plain inversion.",
        )
    )
    register(
        MethodSpec(
            name="maps",
            target="headrouter.methods.word_maps:WordMaps",
            requires={"joint-attention", "prompt-words"},
            summary="Changes nothing; records where in the picture each word of the prompt acts.",
        )
    )


@hookimpl
def register_executors(register: Callable[[ExecutorSpec], None]) -> None:
    """Register the executor of this machine."""
    target = "headrouter.experiments.running.local:LocalExecutor"
    register(ExecutorSpec("local", target, summary="Workers on this machine: one for each GPU, or some on the CPU."))


@hookimpl
def register_presets(register: Callable[[Preset], None]) -> None:
    """Register the paper's equations and the release, as they are written."""
    literal: dict[str, int | float | str] = {
        "k": 1.0,
        "amplify": "output",
        "where": "everywhere",
        "token_form": "literal",
        "keys": "all",
    }
    for name, values, provenance, summary in (
        (
            "paper",
            {},
            "arXiv:2411.15034, eq. 12–20, constants of its release",
            "The equations to the letter.",
        ),
        (
            "release",
            {"image_tokens": "features", "text_rows": "both"},
            "code of the authors' release of HeadRouter",
            "What the released code does.",
        ),
    ):
        register(
            Preset(
                name=name,
                component=("method", "headrouter"),
                reference_steps=28,
                values={**literal, **values},
                provenance=provenance,
                summary=summary,
            )
        )
