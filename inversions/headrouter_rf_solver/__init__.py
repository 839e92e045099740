"""RF-Solver."""

from collections.abc import Callable

from headrouter.plugin import InversionSpec, hookimpl

headrouter_api = 1


@hookimpl
def register_inversions(register: Callable[[InversionSpec], None]) -> None:
    """RF-Solver."""
    register(
        InversionSpec(
            name="rf-solver",
            target="headrouter_rf_solver.rf_solver:RFSolver",
            summary="Second-order inversion and sampling, two model calls a step (arXiv:2411.04746).",
        )
    )
