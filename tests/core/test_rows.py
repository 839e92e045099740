"""Rows that nothing uses are not evaluated, and what is published of their number is what an edit takes."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from headrouter_blending.method import LocalBlend
from headrouter_injection.method import Injection
from headrouter_inversions.euler import Euler
from headrouter_inversions.fireflow import FireFlow
from headrouter_inversions.flowedit import FlowEdit
from headrouter_inversions.rf import RFInversion
from headrouter_inversions.rf_sde import RFInversionSDE

from benchmarks import rows as published
from headrouter.attention.rows import Row, batch_rows
from headrouter.editing.batch import Batch, Task
from headrouter.editing.tuning import Plan
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.method import Method
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.noise import Noise
from headrouter.testing.toy import ToyMMDiT

SIZE = (16, 24)
MASK = torch.arange(16 * 24).reshape(24, 16).numpy() % 3 == 0


class Watched(ToyMMDiT):
    """A toy that notes which branches each call evaluates, and which prompts are encoded."""

    def __init__(self, *words: str) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        self.encoded: list[str] = []
        self.lacks = frozenset(words)

    @property
    def provides(self) -> frozenset[str]:
        return super().provides - self.lacks

    def encode_prompts(self, texts: Sequence[str]) -> Any:
        self.encoded += texts
        return super().encode_prompts(texts)

    def velocity(self, latents: torch.Tensor, sigma: float, rows: Sequence[Row]) -> torch.Tensor:
        names = [f"{item.cfg_branch[0]}{'s' if item.row.is_source else 'e'}" for item in batch_rows(rows)]
        self.calls.append(names)
        return super().velocity(latents, sigma, rows)


class HeldWholly(RFInversion):
    """Holds the source without saying so, so that the model evaluates all of it."""

    @property
    def source_is_known(self) -> bool:
        return False


def batch(toy: ToyMMDiT, inversion: Inversion, *methods: Method, guidance: float = 3.0, **values: Any) -> Batch:
    pixels = torch.rand(1, 3, *SIZE[::-1], generator=torch.Generator().manual_seed(0)) * 2 - 1
    task = Task(("a blue dog",), (1,), "a red cat", pixels)
    return Batch(toy, Plan(inversion, methods, 4, guidance), (task,), SIZE, **values)


@pytest.mark.parametrize(
    ("methods", "branches"),
    [
        ((HeadRouter(start=1, stop=3),), ["", "cs", "cs", ""]),
        ((Injection(tau=2),), ["us cs", "us cs", "", ""]),
        ((Injection(tau=2, branches="conditional"),), ["cs", "cs", "", ""]),
        ((LocalBlend(blend=2, mask={"name": "words", "blocks": (0,)}),), ["cs", "cs", "", ""]),
        ((LocalBlend(blend=2, mask="attention"),), ["cs", "cs", "", ""]),
        ((LocalBlend(blend=2, mask=MASK),), ["", "", "", ""]),
        ((Injection(tau=1), HeadRouter(stop=3)), ["us cs", "cs", "cs", ""]),
        ((), ["", "", "", ""]),
    ],
    ids=["routing", "injection", "conditional", "words", "difference", "mask", "two methods", "none"],
)
def test_a_held_source_is_evaluated_where_a_method_compares(methods: tuple[Method, ...], branches: list[str]) -> None:
    whole, toy = ToyMMDiT(), Watched()
    values = {"eta": 0.5, "hold_source": True}
    expected = batch(whole, HeldWholly(**values), *methods).edit()
    found = batch(toy, RFInversion(**values), *methods).edit()
    assert torch.allclose(found.latents, expected.latents, atol=1e-5)
    seen = [" ".join(name for name in call if name.endswith("s")) for call in toy.calls[4:]]
    assert seen == branches and all("ue" in call and "ce" in call for call in toy.calls[4:])
    assert found.cost.rows == sum(map(len, toy.calls)) <= expected.cost.rows


def test_a_held_source_that_is_kept_is_the_picture() -> None:
    toy = Watched()
    edits = batch(toy, RFInversion(hold_source=True), HeadRouter(stop=1))
    found = edits.edit(keep_sources=True)
    assert edits.latents is not None and torch.allclose(found.sources, edits.latents, atol=1e-5)
    assert ["cs" in call for call in toy.calls[4:]] == [True, False, False, False]


@pytest.mark.parametrize(
    ("inversion", "values", "expected"),
    [
        (Euler(), {}, {"a red cat", "a blue dog", ""}),
        (Euler(), {"guidance": 1.0}, {"a red cat", "a blue dog"}),
        (Euler(), {"negative": "fog"}, {"a red cat", "a blue dog", "fog"}),
        (RFInversion(), {"negative": "fog"}, {"a blue dog", "fog", ""}),
        (RFInversion(), {"negative": "fog", "inverted": True}, {"a blue dog", "fog"}),
        (RFInversion(), {"phase": "invert"}, {""}),
        (Euler(), {"phase": "invert"}, {"a red cat"}),
        (FlowEdit(), {"guidance": 1.0}, {"a red cat", "a blue dog", ""}),
    ],
)
def test_only_prompts_that_are_used_are_encoded_and_each_once(
    inversion: Inversion, values: dict[str, Any], expected: set[str]
) -> None:
    toy = Watched()
    made = batch(toy, inversion, **values)
    assert sorted(toy.encoded) == sorted(expected)
    if values.get("phase") == "invert":
        made.invert()
    else:
        made.edit()
    assert sorted(toy.encoded) == sorted(expected | ({""} if "inverted" in values else set()))


def test_a_model_with_embedded_guidance_encodes_no_negative_prompt() -> None:
    toy = Watched("negative-prompt")
    batch(toy, Euler())
    assert sorted(toy.encoded) == ["a blue dog", "a red cat"]
    toy = Watched("negative-prompt")
    batch(toy, RFInversion())
    assert sorted(toy.encoded) == ["", "a blue dog"]


def test_a_sources_prompt_is_encoded_where_its_row_runs() -> None:
    toy = Watched()
    batch(toy, RFInversion(), HeadRouter())
    assert sorted(toy.encoded) == ["", "a blue dog", "a red cat"]
    toy = Watched()
    batch(toy, RFInversion()).edit(keep_sources=True)
    assert sorted(toy.encoded) == ["", "a blue dog", "a red cat"]


def test_noise_that_stays_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, int]] = []
    draw = Noise.__call__
    monkeypatch.setattr(Noise, "__call__", lambda self, *name: (drawn.append(name), draw(self, *name))[1])
    for inversion, expected in (
        (RFInversion(), [("y1", 0)]),
        (RFInversion(gamma=0), []),
        (RFInversionSDE(), [("y1", 0), *(("rf-sde", step) for step in (1, 2, 3))]),
        (FireFlow(), []),
    ):
        drawn.clear()
        batch(ToyMMDiT(), inversion).edit()
        assert drawn == expected


def test_the_published_rows_are_those_of_an_edit() -> None:
    assert "\n".join(published.lines()) in published.PAGE.read_text(encoding="utf-8"), "python -m benchmarks.rows"
