"""Euler inversion and sampling."""

from collections.abc import Callable

from headrouter.plugin import InversionSpec, hookimpl

headrouter_api = 1


@hookimpl
def register_inversions(register: Callable[[InversionSpec], None]) -> None:
    """Euler."""
    register(
        InversionSpec(
            name="euler",
            target="headrouter_euler.euler:Euler",
            provides={"free"},
            summary="First-order inversion and sampling; optionally with fixed-point iterations.",
        )
    )
