"""Means over evaluations and steps, against sums by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from headrouter.attention.rows import Row
from headrouter.attention.step_mean import Mean, StepMean
from headrouter.methods.step_means import StepMeans
from headrouter.prompts.prompt import Prompt


def test_a_mean_keeps_what_it_was() -> None:
    one = Mean().plus(torch.tensor([1.0, 2.0]))
    two = one.plus(torch.tensor([3.0, 6.0]))
    assert (one.value.tolist(), two.value.tolist(), two.count) == ([1.0, 2.0], [2.0, 4.0], 2)
    with pytest.raises(AssertionError, match="a value first"):
        _ = Mean().value


def test_a_step_counts_once_and_may_be_looked_at_while_it_runs() -> None:
    mean, seen = StepMean(), []
    for step, value in ((3, 2.0), (3, 4.0), (5, 9.0), (6, 1.0), (6, 5.0), (6, 3.0)):
        mean.add(step, torch.tensor(value))
        seen.append(mean.mean().item())
    assert seen == pytest.approx([2.0, 3.0, 6.0, (3 + 9 + 1) / 3, 5.0, 5.0])


def test_means_stand_at_edit_step_and_layer_and_nan_where_nothing_was() -> None:
    prompt = Prompt("a cat", {})
    source, *edits = (Row(prompt, prompt, 1.0, edit=edit) for edit in (None, 0, 1))
    context: Any = SimpleNamespace(rows=(source, *edits), steps=2, sites=(0, 1, 2))
    means = StepMeans(context)
    for step, site, row, value in ((0, 1, 0, 1.0), (0, 1, 0, 2.0), (1, 2, 1, 5.0)):
        event: Any = SimpleNamespace(step_info=SimpleNamespace(step=step), site=SimpleNamespace(index=site))
        means.add("share", event, edits[row], torch.tensor([value, -value], dtype=torch.float64))
    (found,) = means.means().values()
    expected = torch.full((2, 2, 3, 2), torch.nan)
    expected[0, 0, 1], expected[1, 1, 2] = torch.tensor([1.5, -1.5]), torch.tensor([5.0, -5.0])
    assert found.dtype == torch.float32 and torch.equal(found.nan_to_num(-9), expected.nan_to_num(-9))


def test_sums_do_not_depend_on_the_order_of_threads() -> None:
    """Float32 would lose the second of these values, and of many, which several threads add up, the last bits."""
    prompt = Prompt("a cat", {})
    edit = Row(prompt, prompt, 1.0, edit=0)
    context: Any = SimpleNamespace(rows=(edit,), steps=1, sites=(0,))
    event: Any = SimpleNamespace(step_info=SimpleNamespace(step=0), site=SimpleNamespace(index=0))
    means = StepMeans(context)
    for value in (1e8, 3.0, -1e8):
        means.add("share", event, edit, torch.tensor(value))
    assert means.mean("share").flatten().tolist() == [1.0]
