"""A kernel that somebody put in the place of PyTorch's stays the one that runs, listened to or not."""

import itertools
from contextlib import contextmanager

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from headrouter.testing.probe import SIGMA
from headrouter.testing.toy import ToyMMDiT

from .conftest import Plain, Steering, build, noise, rows_of

PYTORCHS = functional.scaled_dot_product_attention


def coarse(q, k, v, **others):
    """As kernels that are put there do, it has names of its own, and rounds in its own way."""
    return PYTORCHS(q, k.half().to(k.dtype), v, **others)


@contextmanager
def in_functional():
    functional.scaled_dot_product_attention = lambda query, key, value, *rest, **others: coarse(
        query, key, value, **dict(zip(("attn_mask", "dropout_p", "is_causal"), rest, strict=False)), **others
    )
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = PYTORCHS


@contextmanager
def in_the_table():
    table, native = _AttentionBackendRegistry._backends, AttentionBackendName.NATIVE
    own = table[native]
    table[native] = lambda query, key, value, **others: own(query, key.half().to(key.dtype), value, **others)
    try:
        yield
    finally:
        table[native] = own


class Mode(TorchFunctionMode):
    """Puts a kernel in place for as long as it is on."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is not PYTORCHS:
            return func(*args, **kwargs)
        arguments = {**dict(zip(("query", "key", "value"), args, strict=False)), **kwargs}
        return coarse(arguments.pop("query"), arguments.pop("key"), arguments.pop("value"), **arguments)


PLACES = {"functional": in_functional, "mode": Mode, "table": in_the_table}


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("toy", "functional"),
        ("flux", "table"),
        *itertools.product(["flux", "sd3", "sd3.5-medium"], ["functional", "mode"]),
    ],
)
def test_listening_does_not_change_the_picture(kind, place):
    backbone = ToyMMDiT() if kind == "toy" else build(kind)
    rows, latents, listener = rows_of(backbone, "a cat", "a dog"), noise(backbone, 2), Plain(log_sum_exp=True)
    original = backbone.velocity(latents, SIGMA, rows)
    with PLACES[place]():
        plain = backbone.velocity(latents, SIGMA, rows)
        assert not torch.equal(plain, original)
        with backbone.attach(listener):
            assert torch.equal(backbone.velocity(latents, SIGMA, rows), plain)
        with backbone.attach(Steering()):
            assert not torch.allclose(backbone.velocity(latents, SIGMA, rows), plain, rtol=1e-3)
        assert torch.equal(backbone.velocity(latents, SIGMA, rows), plain), "what somebody put there is there again"
    assert len(listener.events) == len(backbone.sites)
    for event in listener.events:
        logits = event.query @ event.key.mT * event.scale
        torch.testing.assert_close(event.log_sum_exp(), logits.logsumexp(-1), rtol=1e-5, atol=1e-5)
    assert torch.equal(backbone.velocity(latents, SIGMA, rows), original)


def test_what_somebody_puts_there_meanwhile_stays(monkeypatch):
    monkeypatch.setattr(functional, "scaled_dot_product_attention", coarse)
    with build("sd3").attach(Plain()):
        assert functional.scaled_dot_product_attention is not coarse
        functional.scaled_dot_product_attention = PYTORCHS
    assert functional.scaled_dot_product_attention is PYTORCHS
