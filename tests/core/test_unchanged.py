"""The kept fingerprint of a small model: what the plain one gives, written anew where a bit changed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headrouter.models import unchanged
from headrouter.models.fingerprint import fingerprint
from headrouter.models.unchanged import KeptFingerprint
from tests.core.test_fingerprint import CHANGES, DTYPES, weights

Weights = dict[str, torch.Tensor]


def of_next(tensor: torch.Tensor) -> torch.Tensor:
    """Return the next greater number of each, which bfloat16 does not tell from it."""
    return torch.nextafter(tensor, torch.full_like(tensor, torch.inf))


def exchange(tensor: torch.Tensor) -> None:
    flat = tensor.data.view(-1)
    flat[[7, len(flat) - 7]] = flat[[len(flat) - 7, 7]]


MORE: dict[str, Callable[[Weights], Any]] = {
    "one number among many": lambda found: found["large"].data[299, 255].mul_(2),
    "two numbers that change places": lambda found: exchange(found["large"]),
    "two numbers that change places in a small one": lambda found: exchange(found["a"]),
    "an addition through data": lambda found: setattr(found["large"], "data", found["large"].data + 1),
    "another number type": lambda found: found.update(a=found["a"].double() * 1.5),
}


@pytest.mark.parametrize("name", [*CHANGES, *MORE])
def test_it_is_the_plain_one_after_every_change(name: str) -> None:
    found, kept = weights(), KeptFingerprint()
    before = kept(found.items())
    assert before == fingerprint(found.items()) == kept(found.items())
    (CHANGES | MORE)[name](found)
    assert kept(found.items()) == fingerprint(found.items()) != before


@pytest.mark.parametrize("apart", [1, 100, 256, 4096])
def test_words_that_change_places_count_in_one_row_and_in_one_column(apart: int) -> None:
    found, kept = weights(), KeptFingerprint()
    before, words = kept(found.items()), found["large"].data.view(-1).view(torch.int64)
    words[[0, apart]] = words[[apart, 0]]
    assert kept(found.items()) == fingerprint(found.items()) != before


@pytest.mark.parametrize("size", [77_100, 77_101])
def test_the_last_number_counts_where_no_whole_row_is_left_for_it(size: int) -> None:
    weight, kept = torch.randn(size), KeptFingerprint()
    before = kept([("weight", weight)])
    weight.data[-1] += 1
    assert kept([("weight", weight)]) == fingerprint([("weight", weight)]) != before


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float8_e4m3fn], ids=str)
def test_it_takes_every_number_type(dtype: torch.dtype) -> None:
    kept, found = KeptFingerprint(), weights(dtype)
    assert kept(found.items()) == fingerprint(found.items())
    found["large"].data.view(torch.uint8).view(-1)[1000] ^= 1
    assert kept(found.items()) == fingerprint(found.items())


def test_settings_count_as_data_and_as_text() -> None:
    kept, found = KeptFingerprint(), weights()
    for settings in ({"a": 1}, {"a": 2}, b'{"a": 1}', None):
        assert kept(found.items(), settings) == fingerprint(found.items(), settings)


def test_views_count_by_their_numbers() -> None:
    """A view may begin between two words, and need not lie in a row."""
    whole, kept = torch.randn(300, 257), KeptFingerprint()
    unaligned = torch.randn(300 * 256 + 1)[1:].view(300, 256)
    for view in (whole, whole[:, 1:], whole.view(-1)[1:], whole[1:], whole.mT, whole[:0], unaligned):
        assert kept([("view", view)]) == fingerprint([("view", view)])


def test_it_is_asked_for_again_only_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    found, kept, asked = weights(), KeptFingerprint(), list[object]()
    monkeypatch.setattr(unchanged, "fingerprint", lambda *given: asked.append(given) or "")
    kept(found.items())
    kept({name: tensor.clone() for name, tensor in found.items()}.items())
    assert len(asked) == 1
    found["large"].copy_(of_next(found["large"]))
    kept(found.items())
    assert len(asked) == 2, "bits that bfloat16 does not have count too"


def test_large_models_and_other_devices_take_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found, kept, asked = weights(), KeptFingerprint(), list[object]()
    monkeypatch.setattr(unchanged, "fingerprint", lambda *given: asked.append(given) or "")
    for name, value in (("LARGE", 1000), ("DEVICES", frozenset({"cuda"}))):
        with monkeypatch.context() as patch:
            patch.setattr(unchanged, name, value)
            kept(found.items()), kept(found.items())
    assert len(asked) == 4
