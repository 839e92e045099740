"""Register Ray as an executor of experiments: workers on all machines of a cluster."""

from collections.abc import Callable

from headrouter.plugins.specifications import ExecutorSpec, hookimpl

headrouter_api = 1


@hookimpl
def register_executors(register: Callable[[ExecutorSpec], None]) -> None:
    """Register Ray."""
    register(
        ExecutorSpec("ray", "headrouter_ray.executor:RayExecutor", summary="Workers on the machines of a Ray cluster.")
    )
