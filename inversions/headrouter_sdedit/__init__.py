"""SDEdit."""

from collections.abc import Callable

from headrouter.plugin import InversionSpec, hookimpl

headrouter_api = 1


@hookimpl
def register_inversions(register: Callable[[InversionSpec], None]) -> None:
    """SDEdit."""
    register(
        InversionSpec(
            name="sdedit",
            target="headrouter_sdedit.sdedit:SDEdit",
            summary="Noises the picture part of the way and denoises it; no inversion (arXiv:2108.01073).",
        )
    )
