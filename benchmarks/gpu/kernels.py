"""Each fused kernel by itself: is it the one that plain attention runs, and is its log-sum-exp right?"""

from collections.abc import Iterator
from functools import partial

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.figure import Figure, attempt
from benchmarks.gpu.setting import Setting
from headrouter.attention import kernels
from headrouter.compat import chosen_kernel

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
TOLERANCE = 1e-2


def measure(setting: Setting) -> Iterator[Figure]:
    """The three kernels, then the one that PyTorch takes by itself."""
    size = setting.block
    generator = torch.Generator().manual_seed(0)
    shape = (2, size.heads, size.text + size.image, size.width)
    tensors = [torch.randn(shape, generator=generator).to(setting.device, setting.dtype) for _ in range(3)]
    for name, backend in BACKENDS.items():
        setting.progress(f"kernels: {name}")
        yield from attempt(f"kernel {name}", partial(of_kernel, name, backend, *tensors))
    choice = chosen_kernel(*tensors, size.width**-0.5)
    names = {backend.value: name for name, backend in BACKENDS.items()}
    yield Figure(
        "kernel that PyTorch takes", float(choice), "", note=names.get(choice, "math, or one of another device")
    )


def of_kernel(
    name: str, backend: SDPBackend, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> Iterator[Figure]:
    """One kernel.

    Raises:
        RuntimeError: there is none, or PyTorch would not take it here.
    """
    scale = query.shape[-1] ** -0.5
    kernel = kernels.fused_kernel(query.device.type, int(backend.value))
    if kernel is None:
        raise RuntimeError(f"there is no {name} kernel with log-sum-exp on {query.device.type}")
    with sdpa_kernel(backend):
        choice = chosen_kernel(query, key, value, scale)
        if choice != backend.value:
            raise RuntimeError(f"PyTorch takes kernel {choice}, not {name}, for {tuple(query.shape)} in {query.dtype}")
        plain = functional.scaled_dot_product_attention(query, key, value, scale=scale)
        output, log_sum_exp = kernels.attend_with_log_sum_exp(query, key, value, scale)
    differing = float((output != plain).sum())
    yield Figure(f"kernel {name}: numbers that differ from plain attention", differing, "", goal=("=", 0))
    error = float((log_sum_exp - kernels.log_sum_exp_chunked(query, key, scale)).abs().max())
    yield Figure(f"kernel {name}: log-sum-exp against the chunked pass", error, "at most", goal=("≤", TOLERANCE))
