"""Rows of one picture with the same latents share the velocity under their negative prompt, which is asked for once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from headrouter_inversions.flowedit import FlowEdit

from headrouter.attention.guidance import rescaled
from headrouter.attention.rows import Row, batch_rows, guided_velocity
from headrouter.attention.step_info import StepInfo
from headrouter.editing.batch import Batch, Task
from headrouter.editing.tuning import Plan
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.method import Method
from headrouter.sampling.cost import Meter
from headrouter.sampling.dispatch import Dispatcher
from headrouter.sampling.evaluation import Evaluation
from headrouter.sampling.finiteness import FiniteCheck
from headrouter.testing.toy import ToyMMDiT

SIZE = (16, 24)


class Counting(ToyMMDiT):  # type: ignore[misc]
    """A toy that notes the prompts of each call's branches."""

    def __init__(self, *lacks: str) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        self.lacks = frozenset(lacks)

    @property
    def provides(self) -> frozenset[str]:
        return super().provides - self.lacks

    def velocity(self, latents: torch.Tensor, sigma: float, rows: Sequence[Row]) -> torch.Tensor:
        self.calls.append([item.prompt.text for item in batch_rows(rows)])
        return super().velocity(latents, sigma, rows)


class Rescaling(Counting):
    """One whose guidance is not plain, and depends on the noise level."""

    def combine(
        self, unconditional: torch.Tensor, conditional: torch.Tensor, guidance: float, sigma: float
    ) -> torch.Tensor:
        return rescaled(unconditional, conditional, guidance * (1 + sigma))

    def velocity(self, latents: torch.Tensor, sigma: float, rows: Sequence[Row]) -> torch.Tensor:
        self.calls.append([item.prompt.text for item in batch_rows(rows)])

        def predict(batch: torch.Tensor, items: Any) -> torch.Tensor:
            return self._predict(batch, sigma, items)

        return guided_velocity(predict, latents, rows, combine=lambda u, c, g: self.combine(u, c, g, sigma))


def rows_of(toy: ToyMMDiT, *, images: int = 1, edits: int = 2, **changes: Any) -> list[Row]:
    texts = ["", *(f"a {colour} cat" for colour in ("red", "blue", "green")[: edits + 1])]
    nothing, *prompts = toy.encode_prompts(texts)
    return [
        Row(prompt, nothing, 2.0 + edit, edit=None if edit == 0 else edit - 1, image=image, **changes)
        for image in range(images)
        for edit, prompt in enumerate(prompts)
    ]


def evaluate(
    toy: ToyMMDiT, rows: Sequence[Row], *, alike: bool, dispatcher: Dispatcher | None = None, sources: bool = True
) -> torch.Tensor:
    finite, info = FiniteCheck(late=False), StepInfo("sample", 0, 4, 0, 0.0, 0)
    shape = toy.latent_shape(*SIZE)
    pictures = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    latents = torch.stack([pictures[row.image] for row in rows])
    with Meter(torch.device("cpu")) as meter:
        found = Evaluation(toy, meter, finite, info, dispatcher, sources=sources)(latents, 0.6, rows, alike=alike)
    finite.end_step()
    assert meter.calls == len(toy.calls) == 1 and meter.rows == len(toy.calls[0])
    return found


@pytest.mark.parametrize("kind", [Counting, Rescaling])
@pytest.mark.parametrize(("images", "edits", "rows"), [(1, 1, 3), (1, 2, 4), (2, 2, 8)])
def test_velocities_are_the_same_by_fewer_rows(kind: type[Counting], images: int, edits: int, rows: int) -> None:
    one, other = kind(), kind()
    asked = rows_of(one, images=images, edits=edits)
    expected, found = evaluate(one, asked, alike=False), evaluate(other, asked, alike=True)
    assert torch.allclose(found, expected, atol=1e-5) and (expected[0] - expected[1]).abs().max() > 1e-3
    assert len(other.calls[0]) == rows and other.calls[0].count("") == images
    assert len(one.calls[0]) == 2 * len(asked)


def test_the_models_own_guidance_combines() -> None:
    plain, rescaling = Counting(), Rescaling()
    asked = rows_of(plain)
    assert not torch.allclose(evaluate(plain, asked, alike=True), evaluate(rescaling, asked, alike=True), atol=1e-2)


def test_what_the_velocity_depends_on_is_not_shared() -> None:
    toy = Counting()
    rows = rows_of(toy)
    (fog,) = toy.encode_prompts(["fog"])
    latents = torch.zeros(1, *toy.latent_shape(*SIZE))
    cases = {
        "a negative prompt of its own": ([rows[0], replace(rows[1], negative=fog), rows[2]], 5),
        "a reference of its own": ([replace(row, references=(latents + row.guidance,)) for row in rows], 6),
        "one without guidance": ([rows[0], replace(rows[1], guidance=1.0), rows[2]], 5),
        "one by the negative prompt alone": ([rows[0], replace(rows[1], guidance=0.0), rows[2]], 5),
        "another picture": ([rows[0], replace(rows[1], image=1)], 4),
        "a single row": (rows[:1], 2),
    }
    for name, (asked, expected) in cases.items():
        told = [Counting(), Counting()]
        found = [evaluate(one, asked, alike=alike) for one, alike in zip(told, (False, True), strict=True)]
        assert torch.allclose(*found, atol=1e-5), name
        assert len(told[1].calls[0]) == expected, name


def test_the_same_references_are_shared() -> None:
    picture = torch.ones(1, *ToyMMDiT().latent_shape(*SIZE))
    one, other = Counting(), Counting()
    asked = rows_of(one, references=(picture,))
    assert torch.allclose(evaluate(one, asked, alike=False), evaluate(other, asked, alike=True), atol=1e-5)
    assert len(other.calls[0]) == 4


def test_edits_share_where_the_source_is_not_asked_for() -> None:
    one, other = Counting(), Counting()
    asked = rows_of(one)
    expected = evaluate(one, asked, alike=False, sources=False)
    found = evaluate(other, asked, alike=True, sources=False)
    assert torch.allclose(found, expected, atol=1e-5) and not found[0].any() and found[1:].any()
    assert (len(one.calls[0]), len(other.calls[0])) == (4, 3)


def test_a_model_with_embedded_guidance_and_a_listener_see_all_rows() -> None:
    embedded = Counting("negative-prompt")
    evaluate(embedded, rows_of(embedded), alike=True)
    heard = Counting()
    evaluate(heard, rows_of(heard), alike=True, dispatcher=Dispatcher())
    assert len(embedded.calls[0]) == len(heard.calls[0]) == 6


def edited(toy: ToyMMDiT, inversion: FlowEdit, *methods: Method) -> Any:
    pixels = torch.rand(1, 3, *SIZE[::-1], generator=torch.Generator().manual_seed(0)) * 2 - 1
    task = Task(("a blue dog", "a red dog"), (1,), "a red cat", pixels)
    return Batch(toy, Plan(inversion, methods, 5, 3.0), (task,), SIZE).edit()


@pytest.mark.parametrize("values", [{}, {"averages": 2}, {"offset": 0.5}, {"plain_steps": 1}, {"last_steps": 2}])
def test_flowedit_shares_in_its_first_step_alone(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Counting()
    found = edited(toy, FlowEdit(**values))
    draws = values.get("averages", 1)
    assert [len(call) for call in toy.calls[: draws + 1]] == [4] * draws + [6]
    assert found.cost.rows == sum(map(len, toy.calls))
    monkeypatch.setattr(Evaluation, "_shared", lambda self, rows: {})
    whole = edited(ToyMMDiT(), FlowEdit(**values))
    assert torch.allclose(found.latents, whole.latents, atol=1e-5)
    assert whole.cost.rows == found.cost.rows + 2 * draws and whole.cost.calls == found.cost.calls


def test_flowedit_shares_nothing_while_a_method_looks() -> None:
    toy = Counting()
    edited(toy, FlowEdit(), HeadRouter())
    assert {len(call) for call in toy.calls} == {6}
