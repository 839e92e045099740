"""Register the velocity operators, which change the velocity between the model and the inversion. One file each."""

from collections.abc import Callable

from headrouter.plugins.specifications import OperatorSpec, hookimpl

headrouter_api = 1


@hookimpl
def register_velocity_operators(register: Callable[[OperatorSpec], None]) -> None:
    """Register the published operators, and the one that stands for none."""
    for name, target, provides, summary in (
        (
            "mask",
            "headrouter_operators.mask:MaskOperator",
            {"acts"},
            "Lets an edit's velocity differ from its source's inside a mask alone (arXiv:2609.34237).",
        ),
        (
            "projection",
            "headrouter_operators.projection:Projection",
            {"acts"},
            "Takes out of the difference of the velocities what is parallel to the source's (arXiv:2609.06288).",
        ),
        (
            "gate",
            "headrouter_operators.gate:Gate",
            {"acts"},
            "Weakens the difference of the velocities in steps where it is unusually large (arXiv:2609.06288).",
        ),
        (
            "pmi",
            "headrouter_operators.pmi:ProximalMean",
            {"acts"},
            "While inverting, pulls the velocity to the mean of those before it (arXiv:2602.11850).",
        ),
        (
            "mimic-cfg",
            "headrouter_operators.mimic_cfg:MimicCfg",
            {"acts"},
            "While sampling, pulls the velocity to the direction of the mean of those before it (arXiv:2602.11850).",
        ),
        (
            "veloedit",
            "headrouter_operators.veloedit:VeloEdit",
            {"acts"},
            "Takes the velocity to the picture itself where the model's is close to it (arXiv:2603.13388).",
        ),
        (
            "none",
            "headrouter.sampling.velocity_operator:NoOperator",
            set(),
            "Changes no velocity.",
        ),
    ):
        register(OperatorSpec(name=name, target=target, provides=provides, summary=summary))
