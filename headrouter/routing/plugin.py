"""Registers what the core itself brings: the HeadRouter method and the absence of a method."""

from collections.abc import Callable

from headrouter.plugin import MethodSpec, hookimpl

headrouter_api = 1


@hookimpl
def register_methods(register: Callable[[MethodSpec], None]) -> None:
    """HeadRouter, nothing, and word maps."""
    register(
        MethodSpec(
            name="headrouter",
            target="headrouter.routing.method:HeadRouter",
            provides={"acts"},
            requires={"joint-attention"},
            summary="Routes attention heads and refines text and image tokens (arXiv:2411.15034).",
        )
    )
    register(
        MethodSpec(
            name="none",
            target="headrouter.routing.method:NoMethod",
            summary="Steers nothing: the plain trajectory.",
        )
    )
    register(
        MethodSpec(
            name="maps",
            target="headrouter.maps:WordMaps",
            requires={"joint-attention", "prompt-words"},
            summary="Changes nothing; records where in the picture each word of the prompt acts.",
        )
    )
