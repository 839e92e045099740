"""Branches of guidance are joined by what they are, and the latents of a run stay its own."""

import itertools

import pytest
import torch

from headrouter.attention.rows import BatchRow, Row, batch_rows, guided_velocity
from headrouter.prompts.prompt import Prompt

NOTHING = Prompt("", {})


def predict(latents: torch.Tensor, batch: tuple[BatchRow, ...]) -> torch.Tensor:
    """One more in conditional branches."""
    more = torch.tensor([float(item.cfg_branch == "conditional") for item in batch], dtype=torch.float32)
    return latents + more[:, None, None, None]


def rows_of(guidances: tuple[float, ...]) -> list[Row]:
    return [Row(NOTHING, NOTHING, guidance, edit=place or None) for place, guidance in enumerate(guidances)]


@pytest.mark.parametrize("guidances", list(itertools.product((0.0, 1.0, 3.0), repeat=3)))
@pytest.mark.parametrize("turned", [False, True])
def test_each_row_is_under_its_own_guidance(guidances: tuple[float, ...], turned: bool) -> None:
    rows, latents = rows_of(guidances), torch.randn(3, 1, 2, 2, dtype=torch.float32)
    batch = batch_rows(rows)[:: -1 if turned else 1]
    found = guided_velocity(predict, latents, rows, batch=batch)
    torch.testing.assert_close(found, latents + torch.tensor(guidances, dtype=torch.float32)[:, None, None, None])


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_a_model_may_write_into_what_it_is_given(guidance: float) -> None:
    latents = torch.zeros(2, 1, 2, 2, dtype=torch.float32)
    found = guided_velocity(lambda given, _: given.add_(1), latents, rows_of((guidance,) * 2))
    assert not latents.any() and (found == 1).all()
    assert found.untyped_storage().data_ptr() != latents.untyped_storage().data_ptr()


def test_guided_is_refused_where_the_batch_says_it() -> None:
    rows, latents = rows_of((3.0,)), torch.zeros(1, 1, 2, 2, dtype=torch.float32)
    assert (guided_velocity(predict, latents, rows, batch=batch_rows(rows, guided=False)) == 1).all()
    assert (guided_velocity(predict, latents, rows, guided=False) == 1).all()
    with pytest.raises(TypeError, match="no effect beside `batch`"):
        guided_velocity(predict, latents, rows, guided=False, batch=batch_rows(rows))
