"""Leave out of the doctests the modules that need Triton, where there is none."""

from importlib.util import find_spec

collect_ignore = (
    []
    if find_spec("triton")
    else ["headrouter/attention/fused_probabilities.py", "headrouter/methods/head_router/fused_steering.py"]
)
