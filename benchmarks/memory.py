"""The most memory that a computation holds beyond what was there before it, exactly."""

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(case: Callable[[], object], device: torch.device | str = "cpu") -> int:
    """Largest sum of bytes that ``case`` had allocated and not yet freed.

    On the CPU every allocation and release of PyTorch's allocator, as its profiler records them; kernels' own scratch space
    included, inputs not. On CUDA what the caching allocator counts.
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        case()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        case()
    results = record.profiler.kineto_results  # type: ignore[union-attr]
    assert results is not None
    held = most = 0
    for event in sorted(
        (event for event in results.events() if event.name() == "[memory]"), key=lambda e: e.start_ns()
    ):
        held += event.nbytes()
        most = max(most, held)
    return most
