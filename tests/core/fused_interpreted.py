"""Fused kernels compute what the plain operations compute: in Triton's interpreter, where test_fused.py runs these tests; on a GPU
without it (`python -m pytest tests/core/fused_interpreted.py`).
"""

from typing import Any

import pytest
import torch

from headrouter.attention import fused, kernels
from headrouter.methods.head_router import head_weights, steering
from headrouter.methods.head_router.steering import Amplification, Refinement, steered_reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.float16]
"""The interpreter multiplies no matrices of bfloat16; kernels for it are compiled in test_fused.py."""
TOLERANCES = {torch.float32: {"atol": 1e-5, "rtol": 1e-5}, torch.float16: {"atol": 5e-3, "rtol": 2e-3}}
HEADS, TOKENS, IMAGE = 2, 100, slice(7, 97)
"""Two tiles of tokens; the image begins and ends within one."""


@pytest.fixture(autouse=True)
def everywhere(monkeypatch):
    """Take the CPU for a GPU."""
    monkeypatch.setattr(fused, "fits", lambda tensor: True)
    monkeypatch.setattr(fused, "_refused", set())


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def outputs(rows: int, width: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    """Tokens before heads in memory, as kernels write them."""
    return random(rows, TOKENS, HEADS, width, seed=seed).to(dtype).transpose(1, 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("keys", [1, 20])
def test_probabilities(keys: int, dtype: torch.dtype) -> None:
    query, key = outputs(1, 24, dtype)[:, :, IMAGE], outputs(1, 24, dtype, seed=1)
    log_sum_exp = kernels.log_sum_exp_chunked(query, key, 0.2)
    given = (query, key[:, :, 3 : 3 + keys], log_sum_exp, 0.2)
    found = kernels.probabilities(*given)
    tolerance = 1e-4 if dtype == torch.float32 else 5e-3
    torch.testing.assert_close(found, kernels.unbiased_probabilities.__wrapped__(*given), atol=1e-6, rtol=tolerance)
    assert float(found.sum(-1).max()) < 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lengths", [None, (100, 41)])
def test_dissimilarity(lengths: Any, dtype: torch.dtype) -> None:
    source, edits = outputs(1, 24, dtype), outputs(2, 24, dtype, seed=1)
    edits[0, 0] = source[0, 0]
    counted = None if lengths is None else (torch.arange(TOKENS) < torch.tensor(lengths)[:, None]).to(DEVICE)
    found = head_weights.dissimilarity(source, edits, counted)
    expected = head_weights.dissimilarity.__wrapped__(source, edits, counted)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-3 if dtype == torch.bfloat16 else 1e-5)
    assert found[0, 0] == 0
    if lengths is None:
        torch.testing.assert_close(head_weights.dissimilarity(source[0], edits[0]), found[0])
        source, edits = random(2, 1, 4200, 16).to(dtype).split(1)  # of more tiles than are added up at a time
        expected = head_weights.dissimilarity.__wrapped__(source, edits)
        tolerance = 1e-3 if dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(head_weights.dissimilarity(source, edits), expected, atol=1e-6, rtol=tolerance)


@pytest.mark.parametrize("form", ["literal", "anchored"])
@pytest.mark.parametrize("shape", [(24,), (3, 50), (2, 1)])
def test_weights_of_heads(shape: tuple[int, ...], form: Any) -> None:
    values = random(*shape).abs()
    if shape[0] == 3:
        values[1] = 1e-8 * torch.arange(50, device=DEVICE)  # all alike, but for less than the floor
    stretched = head_weights.normalised(values)
    torch.testing.assert_close(stretched, head_weights.normalised.__wrapped__(values), atol=1e-6, rtol=1e-5)
    gains = head_weights.head_gains(stretched, 0.3, 7.0, 0.4, form)
    torch.testing.assert_close(
        gains, head_weights.head_gains.__wrapped__(stretched, 0.3, 7.0, 0.4, form), atol=1e-6, rtol=1e-5
    )
    assert float(stretched.min()) == 0 and (form == "literal" or float(gains.min()) == 0)


AMPLIFIED = [("output", False), ("difference", True), ("difference", False), (None, False)]
FORMS = ["literal", "centred", "share", None]
STEERED = [(*each, form, torch.float32) for each in AMPLIFIED for form in FORMS if (each[0], form) != (None, None)]
STEERED += [(*each, form, torch.float16) for each, form in zip(AMPLIFIED, FORMS[1:] + FORMS[:1], strict=True)]
"""Every combination in one type; in the other, which only loads and stores see, each part once."""


@pytest.mark.parametrize(("amplify", "reach", "form", "dtype"), STEERED)
def test_steering(amplify: Any, reach: bool, form: Any, dtype: torch.dtype) -> None:
    keys, output = 20 if form == "literal" else 3, outputs(3, 24, dtype)
    amplification = Amplification(
        random(2, HEADS, seed=1).abs(),
        IMAGE if reach else slice(0, TOKENS),
        random(2, 90, seed=2).abs() if reach else None,
        output[:1] if amplify == "difference" else None,
    )
    block = random(2, HEADS, 90, keys, seed=3).softmax(dim=-2)
    block[1, ..., 2:] = 0
    refinement = Refinement(block, random(2, HEADS, keys, 24, seed=4).to(dtype), (keys, 2), 2.0, 3.0, form)
    given = (IMAGE, amplification if amplify else None, refinement if form else None)
    plain, kept = output.clone(), output.clone()
    expected, strides = steered_reference(output[1:], *given), output.stride()
    extent, plain_extent = steering.steer_(output[1:], *given), steering.steer_.__wrapped__(plain[1:], *given)
    torch.testing.assert_close(output[1:].double(), expected, **TOLERANCES[dtype])
    assert torch.equal(output[0], kept[0]) and output.stride() == strides
    if form is None:
        assert extent is None
    else:
        torch.testing.assert_close(extent, plain_extent, atol=1e-5, rtol=1e-4)


def test_an_edit_without_keys_beside_one_with_them() -> None:
    output, block = outputs(2, 24, torch.float32), torch.zeros(2, HEADS, 90, 2, device=DEVICE)
    block[0] = random(HEADS, 90, 2).softmax(dim=-2)
    kept = output[1].clone()
    extent = steering.steer_(output, IMAGE, None, Refinement(block, random(2, HEADS, 2, 24), (2, 0), 2.0, 3.0, "share"))
    assert extent is not None and extent[1].tolist() == [0.0, 1.0, 1.0] and extent[0, 0] > 0
    assert torch.equal(output[1], kept)

    long, block = random(1, HEADS, 8320, 16), random(1, HEADS, 8320, 2).softmax(dim=-2)
    refinement = Refinement(block, random(1, HEADS, 2, 16), (2,), 2.0, 3.0, "share")
    given = (slice(0, 8320), None, refinement)  # more programs than are joined at a time
    extent, plain = steering.steer_(long.clone(), *given), steering.steer_.__wrapped__(long, *given)
    torch.testing.assert_close(extent, plain, atol=1e-5, rtol=1e-4)
