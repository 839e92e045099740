"""PyTorch's private API that the core uses: it is there, and means what it is taken to mean."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from headrouter import compat


def tensors(channels=8):
    return tuple(torch.randn(2, 3, 17, channels) for _ in range(3))


def test_pytorchs_attention_is_what_a_function_mode_sees():
    seen = []

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    assert functional.scaled_dot_product_attention is compat.PRODUCT_ATTENTION
    with Mode():
        functional.scaled_dot_product_attention(*tensors())
    assert compat.PRODUCT_ATTENTION in seen


def test_a_dispatch_mode_sees_what_an_operation_is_made_of():
    seen = []

    class Mode(compat.DispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with Mode():
        torch.ones(2, 3).mT @ torch.ones(2, 3)
    assert seen == ["ones", "transpose", "ones", "mm"]


@pytest.mark.parametrize("backend", [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH])
def test_the_chosen_kernel_is_the_one_that_is_allowed(backend):
    with sdpa_kernel(backend):
        assert compat.chosen_kernel(*tensors(), 0.3) == backend.value


def test_flash_on_cpu_gives_what_plain_attention_gives_and_the_log_sum_exp():
    query, key, value = tensors()
    output, log_sum_exp = compat.flash_on_cpu(query, key, value, 0.3)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        assert torch.equal(output, functional.scaled_dot_product_attention(query, key, value, scale=0.3))
    torch.testing.assert_close(log_sum_exp, (0.3 * query @ key.mT).logsumexp(-1))


@pytest.mark.parametrize("kernel", [compat.flash, compat.efficient, compat.cudnn])
def test_the_kernels_of_a_gpu_take_these_arguments(kernel):
    """With tensors that have shapes alone; their numbers are measured by ``make gpu``."""
    with FakeTensorMode():
        query = torch.empty(2, 3, 32, 64, device="cuda", dtype=torch.bfloat16)
        output, log_sum_exp = kernel(query, query, query, 0.3)
        assert output.shape == query.shape and output.dtype == query.dtype
        assert log_sum_exp.shape[:3] == (2, 3, 32) and log_sum_exp.dtype == torch.float32


def test_hooks_are_found_with_their_flags():
    module = nn.Identity()
    assert compat.hooks_of(module) == {} and compat.hook_flags(module) == {}
    before = module.register_forward_pre_hook(lambda *_: None, with_kwargs=True)
    after = module.register_forward_hook(lambda *_: None)
    backward = module.register_full_backward_hook(lambda *_: None)
    kept = [number for kind in compat.hooks_of(module).values() for number in kind]
    assert sorted(kept) == sorted(handle.id for handle in (before, after, backward))
    assert compat.hook_flags(module) == {before.id: True}
    for handle in (before, after, backward):
        handle.remove()
    assert compat.hooks_of(module) == {} and compat.hook_flags(module) == {}
