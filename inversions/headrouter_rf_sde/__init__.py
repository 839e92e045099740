"""RF-Inversion's stochastic sampling."""

from collections.abc import Callable

from headrouter.plugin import InversionSpec, hookimpl

headrouter_api = 1


@hookimpl
def register_inversions(register: Callable[[InversionSpec], None]) -> None:
    """The stochastic form of RF-Inversion."""
    register(
        InversionSpec(
            name="rf-sde",
            target="headrouter_rf_sde.rf_sde:RFInversionSDE",
            summary="RF-Inversion with fresh noise in every sampling step (arXiv:2410.10792).",
        )
    )
