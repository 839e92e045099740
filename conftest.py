"""Leave out of the doctests the modules that need Triton, where there is none."""

from importlib.util import find_spec

collect_ignore = (
    []
    if find_spec("triton")
    else [
        "headrouter/attention/fused_probabilities.py",
        *(f"headrouter/methods/head_router/fused/{name}.py" for name in ("steering", "weights")),
    ]
)
