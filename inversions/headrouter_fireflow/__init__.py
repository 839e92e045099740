"""FireFlow."""

from collections.abc import Callable

from headrouter.plugin import InversionSpec, hookimpl

headrouter_api = 1


@hookimpl
def register_inversions(register: Callable[[InversionSpec], None]) -> None:
    """FireFlow."""
    register(
        InversionSpec(
            name="fireflow",
            target="headrouter_fireflow.fireflow:FireFlow",
            summary="Second-order inversion and sampling with one model call a step (arXiv:2412.07517).",
        )
    )
