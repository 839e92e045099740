"""DirectEdit undoes its inversion exactly, in N + N calls; FlowEdit's offset of c = σ is FlowEdit to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from headrouter_inversions.directedit import DirectEdit
from headrouter_inversions.euler import Euler
from headrouter_inversions.flowedit import FlowEdit
from headrouter_operators.projection import Projection
from PIL import Image

from headrouter.attention.rows import Row
from headrouter.editing.batch import Batch, Edited, Task
from headrouter.editing.editor import Editor
from headrouter.editing.tuning import Plan
from headrouter.errors import InvalidInputError
from headrouter.methods.head_router.method import HeadRouter
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.inversion import Inversion, RunInputs, State
from headrouter.testing import InversionConformance, InversionSubject
from headrouter.testing.toy import ToyMMDiT

PIXELS = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
PICTURE = Image.fromarray((np.random.default_rng(0).random((28, 44, 3)) * 255).astype(np.uint8))


class TestDirectEdit(InversionConformance):
    @pytest.fixture
    def inversion(self) -> InversionSubject:
        return InversionSubject("directedit", DirectEdit(), frozenset({"free"}))


def batch(inversion: Inversion, *prompts: str, steps: int = 3, guidance: float = 1.0, **values: Any) -> Batch:
    task = Task(prompts, (1,), "a red cat", PIXELS)
    return Batch(ToyMMDiT(), Plan(inversion, (), steps, guidance), (task,), (16, 16), **values)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_source_comes_back_in_n_and_n_calls(steps: int) -> None:
    """However long the steps are, which Euler's method cannot."""
    direct, plain = (batch(inversion, "a red cat", steps=steps) for inversion in (DirectEdit(), Euler()))
    found = direct.edit(keep_sources=True)
    assert direct.latents is not None and plain.latents is not None
    assert torch.equal(found.sources, direct.latents), "the source's row is put on its walk"
    assert torch.allclose(found.latents, direct.latents, atol=1e-5), "its prompt evaluated anew leads there, too"
    assert float((plain.edit().latents - plain.latents).abs().max()) > 1e-3
    assert found.cost.calls == 2 * steps
    assert direct.edit().cost.rows == 2 * steps, "the source is not evaluated for nothing"


def test_each_step_is_the_published_one() -> None:
    """By hand, over a velocity that is not linear."""
    sigmas, source = (1.0, 0.7, 0.3, 0.0), torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(1, 3, 2, 2)
    inputs = RunInputs(sigmas, source, lambda name, step: source)
    nothing = Prompt("", {})
    inversion, rows = DirectEdit(), [Row(nothing, nothing, 1.0), Row(nothing, nothing, 1.0, edit=0)]

    def velocity(
        latents: torch.Tensor, sigma: float, some: Any, stage: int = 0, *, alike: bool = False
    ) -> torch.Tensor:
        pushed = torch.tensor([0.0 if row.is_source else 0.4 for row in some], dtype=torch.float64)
        return torch.sin(2 * latents + sigma) + pushed[:, None, None, None]

    walk, state = [source], State(source)
    for step in range(3):
        state = inversion.invert_step(step, state, rows[:1], velocity, inputs)
        walk.append(state.latents)
    inputs = RunInputs(sigmas, source, inputs.noise, torch.stack(walk, dim=1))
    state = inversion.initial_state(rows, inputs)
    edit = walk[3]
    for step in range(3):
        shift = walk[2 - step] - walk[3 - step]
        edit = edit + (sigmas[step + 1] - sigmas[step]) * velocity(edit + shift, sigmas[step], rows[1:])
        state = inversion.sample_step(step, state, rows, velocity, inputs)
        assert torch.allclose(state.latents[0], walk[2 - step][0], atol=1e-14)
        assert torch.allclose(state.latents[1], edit[0], atol=1e-14)
        known = inversion.known_velocity(step, state.latents, rows, inputs)
        assert torch.allclose(known[0], velocity(walk[2 - step], sigmas[step], rows[:1])[0], atol=1e-12)


def test_methods_and_operators_compare_with_the_walk() -> None:
    plain = batch(DirectEdit(), "a blue dog").edit()
    task = Task(("a blue dog",), (1,), "a red cat", PIXELS)

    def edited(*methods: Any, operators: Any = ()) -> Edited:
        return Batch(ToyMMDiT(), Plan(DirectEdit(), methods, 3, 1.0, operators), (task,), (16, 16)).edit()

    steered, changed = edited(HeadRouter()), edited(operators=(Projection(),))
    assert not torch.allclose(steered.latents, plain.latents) and steered.cost.rows > plain.cost.rows
    assert not torch.allclose(changed.latents, plain.latents) and changed.cost.rows == plain.cost.rows


def test_a_kept_walk_serves_an_edit(tmp_path: Path) -> None:
    editor = Editor(ToyMMDiT(), "directedit", None, progress=False)
    kept = editor.invert(PICTURE, "a cat", steps=3)
    assert tuple(kept.latents.shape[:2]) == (1, 4)
    kept.save(tmp_path / "walk.safetensors")
    whole = editor.edit(PICTURE, "a dog", "a cat", steps=3)
    again = editor.edit(PICTURE, "a dog", "a cat", steps=3, start=tmp_path / "walk.safetensors")
    assert np.array_equal(np.asarray(whole.image), np.asarray(again.image))
    with pytest.raises(InvalidInputError, match="`start` does not fit"):
        editor.edit(PICTURE, "a dog", "a cat", steps=2, start=kept)


def test_an_offset_of_sigma_is_flowedit() -> None:
    edits = {
        share: batch(FlowEdit(offset=share), "a blue dog", guidance=3.0).edit().latents for share in (1.0, 0.5, 0.0)
    }
    assert torch.equal(edits[1.0], batch(FlowEdit(), "a blue dog", guidance=3.0).edit().latents)
    assert not torch.equal(edits[0.5], edits[1.0]) and not torch.equal(edits[0.5], edits[0.0])


@pytest.mark.parametrize("offset", [0.0, 0.25, "progress"])
def test_the_offset_by_hand(offset: Any) -> None:
    """z_t = (1 − σ)·z + σ·ε + c·(z − x_0), the source's as ever."""
    sigmas, source, noise = (1.0, 0.6, 0.0), torch.ones(1, 1, 1, 2).double(), torch.full((1, 1, 1, 2), 3.0).double()
    nothing, seen = Prompt("", {}), list[torch.Tensor]()
    rows = [Row(nothing, nothing, 1.0), Row(nothing, nothing, 1.0, edit=0)]

    def velocity(
        latents: torch.Tensor, sigma: float, some: Any, stage: int = 0, *, alike: bool = False
    ) -> torch.Tensor:
        seen.append(latents)
        return latents

    inputs = RunInputs(sigmas, source, lambda name, step: noise)
    edit = source + 0.5
    FlowEdit(offset=offset, last_steps=1.0).sample_step(1, State(torch.cat([source, edit])), rows, velocity, inputs)
    share = 0.5 if offset == "progress" else offset
    assert torch.allclose(seen[0][0], 0.4 * source[0] + 0.6 * noise[0])
    assert torch.allclose(seen[0][1], (0.4 * edit + 0.6 * noise + 0.6 * share * (edit - source))[0])
