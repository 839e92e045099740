"""The log-sum-exp comes from the kernel that plain attention runs, on each device."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from headrouter.attention import kernels
from headrouter.attention.joint_attention import indices


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [6, 8, 64])
@pytest.mark.parametrize("backend", [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH])
def test_output_is_that_of_plain_attention_bit_by_bit(backend, channels, dtype):
    query, key, value = (torch.randn(2, 3, 17, channels).to(dtype) for _ in range(3))
    with sdpa_kernel(backend):
        output, log_sum_exp = kernels.attend_with_log_sum_exp(query, key, value, 0.3)
        assert torch.equal(output, functional.scaled_dot_product_attention(query, key, value, scale=0.3))
    if backend == SDPBackend.MATH:
        assert log_sum_exp is None
        return
    assert log_sum_exp.dtype == torch.float32
    assert torch.allclose(log_sum_exp, kernels.log_sum_exp_chunked(query, key, 0.3), atol=1e-4)


@pytest.mark.parametrize(
    "backend", [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH]
)
@pytest.mark.parametrize("channels", [64, 60])
def test_kernels_of_a_gpu_are_called_by_name_and_unpadded(backend, channels, monkeypatch):
    """With tensors that have shapes alone: which operation runs, and what shape its log-sum-exp has."""
    monkeypatch.setattr(torch, "_fused_sdp_choice", lambda *tensors, **others: backend.value)
    kernel = kernels.fused_kernel("cuda", backend.value)
    assert (kernel is None) == (backend == SDPBackend.MATH)
    ran = []
    if kernel is not None:
        spy = lambda *given: ran.append(1) or kernel(*given)  # noqa: E731
        monkeypatch.setitem(kernels._FUSED, ("cuda", backend.value), spy)
    with FakeTensorMode():
        query = torch.empty(2, 3, 17, channels, device="cuda", dtype=torch.bfloat16)
        output, log_sum_exp = kernels.attend_with_log_sum_exp(query, query, query, 0.3)
        assert output.shape == query.shape
        fused = kernel is not None and channels % 8 == 0
        assert (log_sum_exp is not None, len(ran)) == (fused, int(fused))
        if fused:
            assert log_sum_exp.shape == (2, 3, 17) and log_sum_exp.dtype == torch.float32


def test_positions_are_copied_to_the_device_once():
    first, again = indices((0, 2), torch.device("cpu")), indices((0, 2), torch.device("cpu"))
    assert first is again
    with torch.inference_mode():
        assert not indices((1, 7, 9), torch.device("cpu")).is_inference()
