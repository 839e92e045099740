"""Looks into joint attention: word maps, ranking of blocks, sensitivity of heads; and methods that drop, swap or weigh heads.

Importing this package loads neither torch nor matplotlib.
"""

from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Callable

from headrouter.plugins.specifications import MethodSpec, hookimpl

headrouter_api = 1


@hookimpl
def register_methods(register: Callable[[MethodSpec], None]) -> None:
    """Register two methods that record attention, and three that change heads."""
    register(
        MethodSpec(
            name="attention-maps",
            target="headrouter_analysis.methods.maps:AttentionMaps",
            requires={"joint-attention", "prompt-words"},
            summary="Changes nothing; records maps of words by block, step and head, text keys or image keys.",
        )
    )
    register(
        MethodSpec(
            name="text-share",
            target="headrouter_analysis.methods.depth:TextShare",
            requires={"joint-attention"},
            summary="Changes nothing; records how much of its attention the image gives to each text token, by block.",
        )
    )
    register(
        MethodSpec(
            name="head-sensitivity",
            target="headrouter_analysis.methods.sensitivity:HeadSensitivity",
            requires={"joint-attention"},
            summary="Changes nothing; records how far each head's output is from the source's.",
        )
    )
    register(
        MethodSpec(
            name="head-dropout",
            target="headrouter_analysis.methods.dropout:HeadDropout",
            provides={"acts"},
            requires={"joint-attention"},
            summary="Puts zero or the mean in the place of chosen heads' output.",
        )
    )
    register(
        MethodSpec(
            name="head-swap",
            target="headrouter_analysis.methods.swap:HeadSwap",
            provides={"acts"},
            requires={"joint-attention"},
            summary="Gives the edit the source's output of chosen heads, or swaps them.",
        )
    )
    register(
        MethodSpec(
            name="profile-routing",
            target="headrouter_analysis.methods.routing:ProfileRouting",
            provides={"acts"},
            requires={"joint-attention"},
            summary="Weighs heads by their measured sensitivity to a semantic, the same for every edit.",
        )
    )


@hookimpl
def register_commands(subcommands: "_SubParsersAction[ArgumentParser]") -> None:
    """Register ``headrouter analyze``."""
    from headrouter_analysis import command

    command.add(subcommands)
