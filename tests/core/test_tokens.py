"""Refinement of image tokens: without S×S it equals the explicit softmax; magnitudes are as derived."""

import pytest
import torch
from torch.nn import functional

from headrouter.attention import kernels
from headrouter.attention.joint_attention import JointAttention, Site, TokenLayout
from headrouter.attention.rows import Row, batch_rows
from headrouter.attention.step_info import StepInfo
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.head_router.steering import Refinement, steer_
from headrouter.methods.head_router.token_weights import (
    feature_weights,
    refined_output_reference,
    token_weights,
)
from headrouter.methods.method import RunContext
from headrouter.prompts.prompt import Prompt

TEXT, GRID = 7, (3, 5)
IMAGE = GRID[0] * GRID[1]


def layout(text_first: bool) -> TokenLayout:
    text, image = (
        (slice(0, TEXT), slice(TEXT, TEXT + IMAGE)) if text_first else (slice(IMAGE, IMAGE + TEXT), slice(0, IMAGE))
    )
    return TokenLayout(text, image, GRID, (("t5", TEXT),))


def event(text_first: bool, bias: torch.Tensor | None = None, *, native: bool = True, rows: int = 3) -> JointAttention:
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(rows, 4, TEXT + IMAGE, 8, generator=generator) * 2 for _ in range(3))
    items = batch_rows([Row(Prompt("", {}), Prompt("", {}), 1.0, edit=None if i == 0 else i - 1) for i in range(rows)])

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)

    site = Site(0, "block", "dual", 4)
    return JointAttention(
        site, layout(text_first), items, StepInfo("sample", 0, 1, 0, 1.0, 0), q, k, v, attend, None, bias, native
    )


def biases() -> dict[str, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(2)
    keep = torch.rand(3, 1, 1, TEXT + IMAGE, generator=generator) > 0.2
    return {
        "none": None,
        "boolean": keep,
        "additive": torch.randn(1, 4, TEXT + IMAGE, TEXT + IMAGE, generator=generator),
    }


@pytest.mark.parametrize("chunk", [kernels.CHUNK_ELEMENTS, 150], ids=["whole", "chunked"])
@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("bias", ["none", "boolean", "additive"])
@pytest.mark.parametrize("text_first", [True, False])
@pytest.mark.parametrize("form", ["literal", "centred", "share"])
def test_without_the_full_matrix_equals_the_explicit_softmax(
    form: str, text_first: bool, bias: str, native: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "CHUNK_ELEMENTS", chunk)
    joint, positions = event(text_first, biases()[bias], native=native), (1, 2, 5)
    output = joint.attend(log_sum_exp=True)
    ours = output.clone()
    value = joint.value[1:3][:, :, joint.layout.text][:, :, list(positions)]
    for heads, block in joint.text_to_image_of((1, 2), (positions, positions)):
        change = Refinement(block, value[:, heads], (3, 3), 2.0, 3.0, form)
        steer_(ours[1:3][:, heads], joint.layout.image, None, change)
    assert torch.equal(ours[0], output[0])
    for row in (1, 2):
        additive = biases()[bias]
        if additive is not None and additive.dtype == torch.bool:
            additive = torch.zeros(additive.shape).masked_fill(~additive, -torch.inf)
        additive = None if additive is None else additive[row if additive.shape[0] > 1 else 0]
        reference = refined_output_reference(
            joint.query[row],
            joint.key[row],
            joint.value[row],
            joint.layout,
            positions,
            2.0,
            3.0,
            form,
            joint.scale,
            additive,
        )
        assert torch.allclose(ours[row], reference, atol=1e-5)
        assert float((reference - output[row]).abs().max()) > 1e-5, "the refinement must do something to be compared"


def test_the_block_is_part_of_the_whole_softmax() -> None:
    joint = event(True)
    ((_, block),) = joint.text_to_image(1, tuple(range(TEXT)))
    whole = (joint.query[1] @ joint.key[1].transpose(-1, -2) * joint.scale).softmax(-1)
    assert torch.allclose(block, whole[:, joint.layout.image, joint.layout.text], atol=1e-6)
    assert float(block.sum(-1).max()) < 1, "not renormalised: image keys take their share"


def test_a_block_is_computed_once_until_query_or_key_change() -> None:
    joint = event(True)
    ((_, first),) = joint.text_to_image(1, (0, 3))
    ((_, again),) = joint.text_to_image(1, (0, 3))
    assert again.data_ptr() == first.data_ptr()
    joint.query = joint.query * 2
    ((_, other),) = joint.text_to_image(1, (0, 3))
    assert not torch.allclose(other, first)


@pytest.mark.parametrize("text_first", [True, False])
def test_attention_with_log_sum_exp_is_the_same_attention(text_first: bool) -> None:
    joint = event(text_first)
    assert torch.equal(joint.attend(log_sum_exp=True), joint.attend())
    kernel = joint.log_sum_exp()
    assert torch.allclose(kernel, kernels.log_sum_exp_chunked(joint.query, joint.key, joint.scale), atol=1e-5)


@pytest.mark.parametrize("form", ["literal", "centred", "share"])
def test_alpha_two_and_nu_zero_are_neutral(form: str) -> None:
    assert (token_weights(torch.rand(2, IMAGE, 3), 2.0, 0.0, form) == 1).all()


def test_the_literal_form_with_released_constants_changes_nothing_at_4096_tokens() -> None:
    probabilities = torch.rand(1, 4096, 4, generator=torch.Generator().manual_seed(0))
    literal = token_weights(probabilities, 2.0, 5.0, "literal")
    assert float((literal - 1).abs().max()) < 2e-3
    centred = token_weights(probabilities, 2.0, 1.0, "centred")
    assert 0.7 < float(centred.min()) < 1 < float(centred.max()) < 1.3


def test_share_follows_the_plain_share() -> None:
    """By hand: shares (.1, .2, .3, .4) of four tokens, N·share − 1 = (−.6, −.2, .2, .6)."""
    weights = token_weights(torch.tensor([[[0.05], [0.1], [0.15], [0.2]]]), 2.0, 1.0, "share")
    assert torch.allclose(weights.flatten(), 2 * torch.sigmoid(torch.tensor([-0.6, -0.2, 0.2, 0.6])))
    assert torch.isfinite(token_weights(torch.zeros(1, 4, 1), 2.0, 1.0, "share")).all()


def test_feature_weights_normalise_over_tokens_for_each_channel() -> None:
    output = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    expected = 1.5 * torch.sigmoid(4 * (6 * output.softmax(dim=1) - 1))
    assert torch.allclose(feature_weights(output, 1.5, 4.0, "centred"), expected)


def test_features_are_refined_after_heads_are_weighted() -> None:
    """As in the release: its weights come from the features that the router has already multiplied."""
    joint = event(True)
    rows = tuple(item.row for item in joint.rows)
    released = HeadRouter(
        image_tokens="features", token_form="centred", rho=0, gamma=2.0, amplify="output", where="everywhere"
    )
    run = released.begin(RunContext("sample", 1, (joint.site,), rows, (1.0, 0.0), range(1)))
    output, image = joint.attend(), joint.layout.image
    steered = run.after(joint, output)
    for edit in (0, 1):
        weighted = run.diagnostics()["head_weights"][edit, 0, 0][:, None, None] * output[1 + edit]
        features = weighted[:, image]
        weighted[:, image] = 2 * torch.sigmoid(2 * (IMAGE * features.softmax(dim=1) - 1)) * features
        torch.testing.assert_close(steered[1 + edit], weighted)


@pytest.mark.parametrize("amplify", ["output", "difference"])
def test_head_weights_are_not_lost_in_the_models_precision(amplify: str) -> None:
    """In bfloat16 a weight of 1.0013 would be 1: it is the gain of 0.0013 that is rounded, and the sum."""
    joint = event(True)
    joint.query, joint.key, joint.value = (tensor.bfloat16() for tensor in (joint.query, joint.key, joint.value))
    rows = tuple(item.row for item in joint.rows)
    run = HeadRouter(image_tokens="off", rho=0, gamma=1.0, amplify=amplify, where="everywhere").begin(
        RunContext("sample", 1, (joint.site,), rows, (1.0, 0.0), range(1))
    )
    output = joint.attend()
    kept = output.clone()
    steered = run.after(joint, output)
    assert torch.equal(output, kept), "what was given is not written into"
    assert steered.stride() == output.stride(), "and its strides are kept"
    assert torch.equal(steered[0], output[0])
    for edit in (0, 1):
        gain = run.diagnostics()["head_weights"][edit, 0, 0][:, None, None] - 1
        assert not torch.equal(1 + gain, (1 + gain).bfloat16().float())
        own, source = output[1 + edit].double(), output[0].double()
        exact = own + gain.bfloat16().double() * (own if amplify == "output" else own - source)
        assert torch.equal(steered[1 + edit], exact.bfloat16())
