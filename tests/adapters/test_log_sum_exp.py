"""Every attention backend of diffusers that gives the log-sum-exp is asked for it; others are left as they are."""

from types import SimpleNamespace

import pytest
import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry, attention_backend
from headrouter_diffusers import compat
from headrouter_diffusers.attention import log_sum_exp
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from headrouter.attention import kernels
from headrouter.testing.probe import SIGMA

from .conftest import Plain, build, noise, rows_of

SHAPE = (2, 3, 17, 16)
"""Rows, heads, tokens, channels."""


def table(name):
    return _AttentionBackendRegistry._backends[AttentionBackendName(name)]


def tensors():
    return {name: torch.randn(SHAPE) for name in ("query", "key", "value")}


def expected(query, key, value, scale):
    logits = query @ key.mT * scale
    return logits.softmax(-1) @ value, logits.logsumexp(-1)


def flash(calls, *, always=False, tokens_first=False):
    """A kernel of the flash-attn package, [rows, tokens, heads, channels], that pads its log-sum-exp."""

    def attend(q, k, v, softmax_scale=None, return_attn_probs=False, **others):
        calls.append(return_attn_probs)
        output, found = expected(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), softmax_scale)
        found = found.mT if tokens_first else functional.pad(found, (0, 3), value=torch.nan)
        return (output.transpose(1, 2), found) if return_attn_probs or always else output.transpose(1, 2)

    return attend


@pytest.mark.parametrize("name", ["flash", "flash_hub", "_flash_3", "_flash_3_hub"])
def test_backends_of_other_packages_are_asked(name, monkeypatch):
    calls = []
    if name.endswith("hub"):
        registry = attention_dispatch._HUB_KERNELS_REGISTRY
        monkeypatch.setitem(registry, AttentionBackendName(name), SimpleNamespace(kernel_fn=flash(calls)))
    elif name == "flash":
        monkeypatch.setattr(attention_dispatch, "flash_attn_func", flash(calls))
    else:
        kernel = flash(calls, always=True, tokens_first=True)
        monkeypatch.setattr(attention_dispatch, "_wrapped_flash_attn_3", kernel)
    both = log_sum_exp.from_backend(AttentionBackendName(name), table(name))
    given = tensors()
    output, found = both(**given, scale=0.3)
    for ours, theirs in zip((output, found), expected(**given, scale=0.3), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert len(calls) == 1 and found.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "only"),
    [
        ("_native_flash", SDPBackend.FLASH_ATTENTION),
        ("_native_efficient", SDPBackend.EFFICIENT_ATTENTION),
        ("_native_cudnn", SDPBackend.CUDNN_ATTENTION),
    ],
)
def test_a_kernel_of_pytorch_is_called_where_it_alone_is_allowed(name, only, monkeypatch):
    seen = []

    def attend(query, key, value, scale):
        allowed = [backend for backend in SDPBackend.__members__.values() if backend in sdpa_state()]
        seen.append((allowed, query.is_contiguous()))
        return expected(query, key, value, scale)

    monkeypatch.setattr(log_sum_exp, "attend_with_log_sum_exp", attend)
    both = log_sum_exp.from_backend(AttentionBackendName(name), table(name))
    given = {name: tensor.transpose(1, 2).contiguous().transpose(1, 2) for name, tensor in tensors().items()}
    for scale in (0.3, None):
        torch.testing.assert_close(both(**given, scale=scale)[0], expected(**given, scale=scale or 0.25)[0])
    assert seen == [([only], only == SDPBackend.CUDNN_ATTENTION)] * 2


def sdpa_state():
    return torch.nn.attention._cur_sdpa_kernel_backends()


def test_flash_of_pytorch_on_the_cpu_is_the_backend_bit_by_bit():
    given = tensors()
    output, found = log_sum_exp.from_backend(AttentionBackendName("_native_flash"), table("_native_flash"))(**given)
    swapped = {name: tensor.transpose(1, 2) for name, tensor in given.items()}
    assert torch.equal(output, table("_native_flash")(**swapped).transpose(1, 2))
    torch.testing.assert_close(found, kernels.log_sum_exp_chunked(given["query"], given["key"], 0.25))


@pytest.mark.parametrize("name", ["native", "_native_math", "sage", "flex", "xformers"])
def test_others_are_not_asked(name):
    assert log_sum_exp.from_backend(AttentionBackendName(name), table(name)) is None


def test_what_somebody_put_into_the_table_is_not_asked():
    for name in ("_native_flash", "flash", "_flash_3"):
        assert log_sum_exp.from_backend(AttentionBackendName(name), lambda *_: None) is None


def test_names_that_are_gone_are_missed(monkeypatch):
    for name in [*compat.PYTORCHS_KERNELS, "flash", "flash_hub", "_flash_3", "_flash_3_hub"]:
        assert log_sum_exp.from_backend(AttentionBackendName(name), table(name)) is not None, name


def test_a_model_on_a_backend_gives_the_kernels_log_sum_exp(monkeypatch):
    backbone = build("flux")
    rows, latents, listener = rows_of(backbone, "a cat", "a dog"), noise(backbone, 2), Plain(log_sum_exp=True)
    with attention_backend("_native_flash"):
        plain = backbone.velocity(latents, SIGMA, rows)
        with backbone.attach(listener):
            assert torch.equal(backbone.velocity(latents, SIGMA, rows), plain)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        chunked = [kernels.log_sum_exp_chunked(event.query, event.key, event.scale) for event in listener.events]
    monkeypatch.setattr(kernels, "log_sum_exp_chunked", None)  # kept, so not computed again
    for event, found in zip(listener.events, chunked, strict=True):
        torch.testing.assert_close(event.log_sum_exp(), found, rtol=1e-5, atol=1e-5)
