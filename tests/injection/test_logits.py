"""Logits taken from another row equal the explicit softmax with replaced logits; what methods change can be told apart."""

import itertools

import pytest
import torch
from headrouter_injection.parts import REGIONS
from headrouter_injection.reference import replaced_attention_reference
from torch.nn import functional

from headrouter.attention import kernels
from headrouter.attention.joint_attention import JointAttention

from .runs import event, layout

CHOICES = [("I2I",), ("T2I",), ("I2T",), ("T2T",), ("T2I", "I2T"), ("I2I", "T2I", "I2T", "T2T")]
ORDERS = ["ti", "it", "rti", "itr"]


def biases(length: int) -> dict[str, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(2)
    return {
        "none": None,
        "boolean, by row": torch.rand(6, 1, 1, length, generator=generator) > 0.2,
        "boolean, by query": torch.rand(1, 1, length, length, generator=generator) > 0.2,
        "additive, by head": torch.randn(1, 3, length, length, generator=generator),
        "additive, by row": torch.randn(6, 3, length, length, generator=generator),
    }


def additive(bias: torch.Tensor | None, row: int) -> torch.Tensor | None:
    if bias is None:
        return None
    number = torch.zeros(bias.shape).masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else bias
    return number[row if len(number) > 1 else 0]


def take(joint: JointAttention, row: int, source: int, names: tuple[str, ...]) -> None:
    for queries, keys in (REGIONS[name] for name in names):
        joint.overrides = joint.overrides.taking(
            row, source, getattr(joint.layout, queries), getattr(joint.layout, keys)
        )


@pytest.mark.parametrize("chunk", [kernels.CHUNK_ELEMENTS, 60], ids=["whole", "chunked"])
@pytest.mark.parametrize("kind", list(biases(1)))
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("names", CHOICES, ids="+".join)
def test_taken_logits_equal_the_explicit_softmax(
    names: tuple[str, ...], order: str, kind: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "CHUNK_ELEMENTS", chunk)
    where = layout(order)
    bias, (row, source) = biases(where.length)[kind], (4, 3)
    for native, log_sum_exp in ((True, True), (True, False), (False, False)):
        joint = event(where, bias=bias, native=native)
        plain = joint.attend(log_sum_exp=log_sum_exp)
        take(joint, row, source, names)
        output = joint.attend(log_sum_exp=log_sum_exp)
        q, k, v = joint.query, joint.key, joint.value
        mask = additive(bias, row)
        told = (q[row], k[row], v[row], q[source], k[source], where, names, joint.scale, mask)
        torch.testing.assert_close(output[row], replaced_attention_reference(*told), atol=1e-5, rtol=1e-5)
        others = [other for other in range(6) if other != row]
        assert torch.equal(output[others], plain[others]), "other rows must not change by a bit"
        assert not torch.equal(output[row], plain[row])
        ones = torch.eye(where.length).expand(3, -1, -1)  # on these values the output is the matrix of probabilities
        matrix = replaced_attention_reference(q[row], k[row], ones, *told[3:])
        block = torch.cat([part for _, part in joint.text_to_image(row, (1, 4))])
        expected = matrix[:, where.image][:, :, [where.text.start + 1, where.text.start + 4]]
        torch.testing.assert_close(block, expected, atol=1e-5, rtol=1e-5)
        block = torch.cat([part for _, part in joint.image_to_text(row, (1, 4))])
        expected = matrix[:, [where.text.start + 1, where.text.start + 4]][:, :, where.image]
        torch.testing.assert_close(block, expected, atol=1e-5, rtol=1e-5)


def test_rows_take_from_their_own_sources() -> None:
    joint, where = event(layout("it")), layout("it")
    for row, source in ((1, 0), (4, 3), (5, 3)):
        take(joint, row, source, ("T2I",))
    output, q, k, v = joint.attend(), joint.query, joint.key, joint.value
    for row, source in ((1, 0), (4, 3), (5, 3)):
        expected = replaced_attention_reference(
            q[row], k[row], v[row], q[source], k[source], where, ["T2I"], joint.scale
        )
        torch.testing.assert_close(output[row], expected, atol=1e-5, rtol=1e-5)


def test_no_more_logits_are_held_than_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    largest, plain = [0], functional.scaled_dot_product_attention

    def watched(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **others: object) -> torch.Tensor:
        largest.append(query[..., 0].numel() * key.shape[2])
        return plain(query, key, value, **others)  # type: ignore[arg-type]

    joint = event(layout("it"))
    take(joint, 1, 0, ("I2I", "T2I"))
    joint._attend = plain
    monkeypatch.setattr(kernels, "CHUNK_ELEMENTS", 50)
    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
    joint.attend()
    assert 22 <= max(largest) <= 50


def test_two_tokens_by_hand() -> None:
    """One image token and one text token; T2I: the text's logit in the image's row is the source's."""
    where = layout("it", text=1, grid=(1, 1))
    query = torch.tensor([[[1.0], [5.0]], [[2.0], [7.0]]])[:, None]  # [source, edit], head, [image, text], channel
    key = torch.tensor([[[3.0], [0.5]], [[1.0], [4.0]]])[:, None]
    joint = event(where, query=query, key=key, channels=1, heads=1)
    joint.rows = joint.rows[:2]
    joint.value = torch.tensor([[[0.0], [0.0]], [[10.0], [20.0]]])[:, None]
    take(joint, 1, 0, ("T2I",))
    own, taken = torch.tensor(2.0 * 1.0).exp(), torch.tensor(1.0 * 0.5).exp()
    expected = (10 * own + 20 * taken) / (own + taken)
    assert joint.attend()[1, 0, 0].item() == pytest.approx(expected.item(), rel=1e-6)
    text = torch.tensor([7.0 * 1.0, 7.0 * 4.0]).softmax(0) @ torch.tensor([10.0, 20.0])
    assert joint.attend()[1, 0, 1].item() == pytest.approx(text.item(), rel=1e-6)


def test_a_row_takes_from_one_source() -> None:
    joint = event(layout("it"))
    take(joint, 4, 3, ("T2I",))
    with pytest.raises(AssertionError, match="takes from row 3 already"):
        take(joint, 4, 0, ("I2I",))


@pytest.mark.parametrize("name", ["query", "key", "value"])
def test_the_original_is_what_the_model_made(name: str) -> None:
    joint = event(layout("ti"))
    made = {each: getattr(joint, each) for each in ("query", "key", "value")}
    assert joint.original() is joint
    setattr(joint, name, made[name] * 2)
    first = joint.original()
    assert first is not joint and first is joint.original()
    assert all(getattr(first, each) is tensor for each, tensor in made.items())
    blocks = [torch.cat([part for _, part in one.text_to_image(4, (2,))]) for one in (first, joint)]
    assert torch.equal(*blocks) == (name == "value")


def test_the_original_takes_nothing() -> None:
    joint = event(layout("ti"))
    before = joint.attend(log_sum_exp=True).clone()
    take(joint, 4, 3, ("I2I", "T2I"))
    assert torch.equal(joint.original().attend(log_sum_exp=True), before)
    whole = [
        torch.cat([part for _, part in one.text_to_image(4, (2,))]) for one in (joint.original(), event(layout("ti")))
    ]
    torch.testing.assert_close(*whole)


def test_all_pairs_of_regions_add_up() -> None:
    """Said together or one after the other is the same."""
    for one, other in itertools.combinations(REGIONS, 2):
        together, apart = event(layout("ti")), event(layout("ti"))
        take(together, 4, 3, (one, other))
        take(apart, 4, 3, (one,))
        apart.attend()
        take(apart, 4, 3, (other,))
        assert torch.equal(together.attend(), apart.attend())
