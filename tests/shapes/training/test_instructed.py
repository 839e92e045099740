"""Training a backbone of instructions: it starts as Flux, is given the reference, and one command makes a folder that edits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from headrouter_shapes import model_path
from headrouter_shapes.pipelines.build import build_pipeline
from headrouter_shapes.pipelines.folder import load_autoencoder, load_pipeline
from headrouter_shapes.pipelines.prompting import encode_prompts, velocity
from headrouter_shapes.pipelines.sampling import starting_noise
from headrouter_shapes.train import main
from headrouter_shapes.training.flow import FlowTraining, Recipe, _pairs
from headrouter_shapes.training.transplant import with_more_words
from headrouter_shapes.world.instruction import WORDINGS, instruction, no_change, training_changes
from headrouter_shapes.world.render import render
from headrouter_shapes.world.vocabulary import SEMANTICS

from headrouter import Editor
from headrouter.errors import InvalidInputError


@pytest.fixture(scope="module")
def started():
    """Flux as it is bundled, and a pipeline of instructions that starts from it."""
    flux = load_pipeline(model_path("flux"))
    fresh = build_pipeline("flux-kontext", load_autoencoder(model_path("flux")))
    with_more_words(flux, fresh)
    return flux, fresh


@torch.no_grad()
def test_without_a_reference_it_begins_as_the_flux_that_it_started_from(started) -> None:
    _, fresh = started
    latents, sigma, texts = starting_noise(0, 2), torch.tensor([0.3, 0.8]), ["a large red star on the left", ""]
    wanted, found = (velocity(each, latents, sigma, encode_prompts(each, texts)) for each in started)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    prompts, reference = encode_prompts(fresh, ["make the star red", "keep it as it is"]), starting_noise(1, 2)
    seen = velocity(fresh, latents, sigma, prompts, reference)
    assert not torch.equal(seen, velocity(fresh, latents, sigma, prompts, reference + 1))
    shape = (48, 32)
    backbone = Editor("flux-kontext", pipeline=fresh, method=None, progress=False, max_sequence_length=20).backbone
    assert backbone.latent_shape(*shape)[0] == 16


def test_a_change_is_learnt_both_ways_and_no_change_gives_the_reference_back() -> None:
    source, target = torch.zeros(4, 2, 1, 1), torch.ones(4, 2, 1, 1)
    turned, kept = np.array([False, True, False, True]), np.array([False, False, True, True])
    reference, reached = _pairs(torch.cat([source, target], dim=1), turned, kept)
    assert reference[:, 0].flatten().tolist() == [0, 1, 0, 1]
    assert reached[:, 0].flatten().tolist() == [1, 0, 0, 1]


def test_what_a_step_is_asked_and_given(started, monkeypatch) -> None:
    """Instructions of the pool's changes, either way, and the loss of a fresh network, which predicts zero."""
    recipe = Recipe("flux-kontext", pictures=8, batch=4, pool=8, float32=True)
    latents = torch.randn(8, 32, 16, 16, generator=torch.Generator().manual_seed(0))
    given = []
    monkeypatch.setattr(
        "headrouter_shapes.training.flow.tokenize",
        lambda pipeline, prompts: given.append(prompts) or tokens(pipeline, prompts),
    )
    pipeline = build_pipeline("flux-kontext", load_autoencoder(model_path("flux")))
    training = FlowTraining(pipeline, recipe, training_changes(0, 0, 8), latents, torch.device("cpu"), workers=2)
    assert training.advance() == pytest.approx(2.0, abs=0.1)
    [prompts] = given
    known = {
        instruction(each, n) for change in training.scenes for each in (change, change.turned) for n in range(WORDINGS)
    }
    assert len(prompts) == 4 and set(prompts) <= {"", *known, *map(no_change, range(WORDINGS))}


def test_an_emphasis_says_how_often_a_kind_of_change_is_seen(started) -> None:
    """Of 400 changes, a kind with emphasis 6 is seen six times as often as its share of the pool; the others alike."""
    changes, latents = training_changes(0, 0, 400), torch.zeros(400, 32, 1, 1)
    recipe = Recipe("flux-kontext", pictures=4, batch=4, pool=400, float32=True, emphasis={"shape": 6, "style": 0.5})
    shares = FlowTraining(started[1], recipe, changes, latents, torch.device("cpu")).shares
    of = {
        kind: {round(share / shares.min(), 6) for share, one in zip(shares, changes, strict=True) if one.kind == kind}
        for kind in SEMANTICS
    }
    assert of == {kind: {{"shape": 12.0, "style": 1.0}.get(kind, 2.0)} for kind in SEMANTICS}
    assert shares.sum() == pytest.approx(1)


def test_a_step_follows_the_emphasis(started, monkeypatch) -> None:
    """With all weight on shapes, nothing else is asked for."""
    given, changes = [], training_changes(0, 0, 40)
    monkeypatch.setattr(
        "headrouter_shapes.training.flow.tokenize",
        lambda pipeline, prompts: given.extend(prompts) or tokens(pipeline, prompts),
    )
    recipe = Recipe("flux-kontext", pictures=8, batch=8, pool=40, float32=True, emphasis={"shape": 1e12})
    pipeline = build_pipeline("flux-kontext", load_autoencoder(model_path("flux")))
    FlowTraining(pipeline, recipe, changes, torch.zeros(40, 32, 8, 8), torch.device("cpu")).advance()
    shapes = [each for change in changes if change.kind == "shape" for each in (change, change.turned)]
    asked = {instruction(each, n) for each in shapes for n in range(WORDINGS)}
    assert set(given) <= {"", *asked, *map(no_change, range(WORDINGS))} and set(given) & asked


@pytest.mark.parametrize(
    ("backbone", "emphasis", "why"),
    [
        ("flux", {"shape": 2.0}, "is for flux-kontext"),
        ("flux-kontext", {"mood": 2.0}, "got mood"),
        ("flux-kontext", {"shape": 0.0}, "must be positive; got shape=0.0"),
        ("flux-kontext", {"shape": float("nan")}, "must be positive; got shape=nan"),
    ],
)
def test_an_emphasis_without_effect_or_sense_is_refused(backbone, emphasis, why) -> None:
    with pytest.raises(InvalidInputError, match=why):
        Recipe(backbone, emphasis=emphasis)


def tokens(pipeline, prompts):
    from headrouter_shapes.pipelines.prompting import tokenize

    return tokenize(pipeline, prompts)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
def test_one_command_trains_two_steps_from_the_bundled_flux_and_the_folder_edits(tmp_path: Path) -> None:
    flux = str(model_path("flux"))
    how = ["--pictures", "8", "--batch", "4", "--pool", "8", "--sheet", "1", "--float32"]
    assert main(["--model", "flux-kontext", "--out", str(tmp_path), "--vae", flux, "--start-from", flux, *how]) == 0
    assert (tmp_path / "flux-kontext-0000008.png").is_file()
    change = training_changes(0, 0, 1)[0]
    how_to: dict[str, Any] = {"progress": False, "dtype": "float32", "max_sequence_length": 20}
    editor = Editor("flux-kontext", method="headrouter", model=str(tmp_path / "flux-kontext"), **how_to)
    result = editor.edit(render(change.source), "make it red", steps=2, size=(64, 64))
    assert result.image.size == (64, 64) and result.head_weights.shape == (1, 2, 8, 6)
