"""Training: the loss falls, a resumed run is the uninterrupted one, and short cuts change nothing."""

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from headrouter_shapes.files import load_tensors, save_tensors
from headrouter_shapes.pipelines.autoencoder import build_autoencoder, set_latent_scale
from headrouter_shapes.pipelines.build import build_pipeline
from headrouter_shapes.pipelines.folder import load_pipeline, save_pipeline
from headrouter_shapes.pipelines.prompting import encode_prompts
from headrouter_shapes.training.attention import everywhere, explicit_attention
from headrouter_shapes.training.autoencoder import AutoencoderTraining, busy_crops
from headrouter_shapes.training.flow import FlowTraining, Recipe
from headrouter_shapes.training.optimiser import Optimiser
from headrouter_shapes.training.parallel import Gradients
from headrouter_shapes.world.pool import draw, training_scenes
from torch.nn import functional

from headrouter.errors import InvalidInputError, WeightsError

RECIPE = Recipe("sd3.5", pictures=48, batch=8, pool=16)


def _training(recipe: Recipe, workers: int = 1) -> FlowTraining:
    latents = torch.randn(recipe.pool, 16, 16, 16, generator=torch.Generator().manual_seed(99))
    pipeline = build_pipeline(recipe.backbone, build_autoencoder(), recipe.seed)
    return FlowTraining(pipeline, recipe, training_scenes(0, 0, recipe.pool), latents, torch.device("cpu"), workers)


def _weights(training: FlowTraining) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in training.parts.named_parameters()}


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.parametrize("backbone", ["flux", "sd3.5"])
def test_saving_in_mid_run_changes_nothing_and_a_resumed_run_is_bit_equal(backbone: str, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, backbone=backbone, batch=2, pictures=8)
    straight = _training(recipe)
    losses = [straight.advance() for _ in range(4)]
    saved = _training(recipe)
    assert [saved.advance(), saved.advance()] == losses[:2]
    save_tensors(saved.state_dict(), tmp_path / "run.checkpoint")
    saved.swap_average()
    save_pipeline(saved.pipeline, tmp_path / "pipeline")
    saved.swap_average()
    before = _weights(saved)
    resumed = _training(recipe)
    resumed.load_state_dict(load_tensors(tmp_path / "run.checkpoint"))
    for training in (saved, resumed):
        assert [training.advance(), training.advance()] == losses[2:]
        for name, weight in _weights(straight).items():
            assert torch.equal(weight, training.parts.get_parameter(name)), name
            assert torch.equal(straight.average[name], training.average[name]), name
    moved = [not torch.equal(weight, before[name]) for name, weight in saved.parts.named_parameters()]
    assert sum(moved) > 0.9 * len(moved)


def test_saving_a_pipeline_leaves_its_storage_and_types_alone(tmp_path: Path) -> None:
    pipeline = build_pipeline("sd3", build_autoencoder())
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    before = [(weight.data_ptr(), weight.dtype) for part in parts for weight in part.parameters()]
    save_pipeline(pipeline, tmp_path / "pipeline")
    assert before == [(weight.data_ptr(), weight.dtype) for part in parts for weight in part.parameters()]
    encode_prompts(pipeline, ["a red star"])  # after which a tokenizer remembers a length
    save_pipeline(pipeline, tmp_path / "used")
    for file in filter(Path.is_file, (tmp_path / "pipeline").rglob("*")):
        assert file.read_bytes() == (tmp_path / "used" / file.relative_to(tmp_path / "pipeline")).read_bytes()
    assert load_pipeline(tmp_path / "pipeline", torch.bfloat16).transformer.dtype == torch.bfloat16


def test_weights_that_were_given_new_storage_are_trained_on() -> None:
    """A conversion to another type and back replaces every storage, as a move between devices does."""
    moved = _training(dataclasses.replace(RECIPE, batch=2))
    still = _training(dataclasses.replace(RECIPE, batch=2))
    moved.advance()
    still.advance()
    kept = _weights(moved)
    moved.parts.to(torch.float64).to(torch.float32)
    assert all(torch.equal(weight, kept[name]) for name, weight in moved.parts.named_parameters())
    assert moved.advance() == still.advance()
    assert all(torch.equal(weight, still.parts.get_parameter(name)) for name, weight in moved.parts.named_parameters())


def test_the_loss_of_the_velocity_falls() -> None:
    """A pool of one flat colour: knowing it halves the loss."""
    training = _training(dataclasses.replace(RECIPE, pictures=32, batch=2, adam_rate=5e-3))
    training.latents = torch.randn(1, 16, 1, 1, generator=torch.Generator().manual_seed(99)).repeat(16, 1, 16, 16)
    losses = [training.advance() for _ in range(10)]
    assert losses[0] == pytest.approx(1.0 + training.latents.square().mean().item(), abs=0.1)
    assert losses[-1] < 0.8 * losses[0]


def test_the_loss_of_the_autoencoder_falls_and_its_latents_are_scaled_to_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    training = AutoencoderTraining(build_autoencoder(), seed=0, steps=16, batch=8)
    losses = [training.advance() for _ in range(10)]
    assert min(losses[-3:]) < 0.8 * losses[0]
    save_tensors(training.state_dict(), tmp_path / "vae.checkpoint")
    losses.append(training.advance())
    again = AutoencoderTraining(build_autoencoder(), seed=0, steps=16, batch=8)
    again.load_state_dict(load_tensors(tmp_path / "vae.checkpoint"))
    assert again.advance() == losses[-1]
    with pytest.raises(WeightsError, match="another configuration: seed 0 instead of 1"):
        AutoencoderTraining(build_autoencoder(), seed=1, steps=16, batch=8).load_state_dict(training.state_dict())
    autoencoder = training.autoencoder
    set_latent_scale(autoencoder, seed=0, count=64)
    with torch.no_grad():
        mean = autoencoder.encode(draw(0, 0, 64)).latent_dist.mean
    latents = (mean - autoencoder.config.shift_factor) * autoencoder.config.scaling_factor
    assert latents.mean().item() == pytest.approx(0.0, abs=1e-3)
    assert latents.std().item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("change", [{"seed": 5}, {"batch": 4}, {"pool": 8}, {"backbone": "sd3"}, {"adam_rate": 1.0}])
def test_a_checkpoint_of_another_configuration_is_refused_and_nothing_changes(change: dict[str, object]) -> None:
    state = _training(dataclasses.replace(RECIPE, batch=2)).state_dict()
    other = _training(dataclasses.replace(RECIPE, **{"batch": 2, **change}))
    before = _weights(other)
    with pytest.raises(WeightsError, match=f"another configuration: {next(iter(change))} "):
        other.load_state_dict(state)
    assert all(torch.equal(weight, other.parts.get_parameter(name)) for name, weight in before.items())


def test_a_checkpoint_of_other_latents_is_refused() -> None:
    """Another autoencoder gives other latents of the same pictures."""
    state = _training(dataclasses.replace(RECIPE, batch=2)).state_dict()
    other = _training(dataclasses.replace(RECIPE, batch=2))
    other.latents = other.latents * 1.01
    with pytest.raises(WeightsError, match="another configuration: latents "):
        other.load_state_dict(state)


def test_two_runs_continued_from_one_state_share_nothing() -> None:
    begun = _training(dataclasses.replace(RECIPE, batch=2))
    begun.advance()
    state = copy.deepcopy(begun.state_dict())
    first, second = (_training(dataclasses.replace(RECIPE, batch=2)) for _ in range(2))
    for training in (first, second):
        training.load_state_dict(state)
    losses = [first.advance(), first.advance()]
    assert [second.advance(), second.advance()] == losses == [begun.advance(), begun.advance()]
    assert all(torch.equal(weight, second.parts.get_parameter(name)) for name, weight in _weights(first).items())


def test_a_run_may_be_made_longer() -> None:
    training = _training(dataclasses.replace(RECIPE, pictures=4800))
    training.load_state_dict(_training(RECIPE).state_dict())
    assert training.step == 0


def test_the_average_is_swapped_in_and_out() -> None:
    training = _training(dataclasses.replace(RECIPE, batch=2))
    training.advance()
    before = _weights(training)
    training.swap_average()
    assert any(not torch.equal(weight, training.parts.get_parameter(name)) for name, weight in before.items())
    training.swap_average()
    assert all(torch.equal(weight, training.parts.get_parameter(name)) for name, weight in before.items())


def test_a_batch_that_threads_cannot_share_equally_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"`batch` must be a multiple of 4.*got 6"):
        _training(dataclasses.replace(RECIPE, batch=6), workers=2)


@pytest.mark.parametrize("workers", [1, 3])
def test_gradients_of_slices_are_those_of_the_whole(workers: int) -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3, dtype=torch.float64))
    idle = torch.nn.Parameter(torch.ones(2))
    data = torch.randn(12, 4, dtype=torch.float64)
    slices = data.chunk(6)
    mean = Gradients([weight, idle], workers)(lambda number: (slices[number] @ weight).square().mean(), len(slices))
    whole = (data @ weight).square().mean()
    assert mean == pytest.approx(whole.item())
    torch.testing.assert_close(weight.grad, torch.autograd.grad(whole, weight)[0])
    assert idle.grad is None


@pytest.mark.parametrize("kind", ["plain", "causal", "boolean", "additive", "scaled"])
def test_explicit_attention_is_torchs(kind: str) -> None:
    query, key, value = torch.randn(3, 2, 3, 7, 8, dtype=torch.float64)
    options = {
        "plain": {},
        "causal": {"is_causal": True},
        "boolean": {"attn_mask": torch.rand(7, 7) > 0.3},
        "additive": {"attn_mask": torch.randn(7, 7, dtype=torch.float64)},
        "scaled": {"scale": 0.5},
    }[kind]
    fused = functional.scaled_dot_product_attention(query, key, value, **options)
    torch.testing.assert_close(explicit_attention(query, key, value, **options), fused)
    with everywhere():
        assert functional.scaled_dot_product_attention is explicit_attention
    assert functional.scaled_dot_product_attention is not explicit_attention


def test_muon_moves_matrices_and_adam_the_rest() -> None:
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 8, 3))
    optimiser = Optimiser(layers.named_parameters(), lambda name: name.startswith("1"), muon_rate=0.02, adam_rate=0.001)
    before = [weight.detach().clone() for weight in layers.parameters()]
    layers(torch.randn(2, 3, 9, 9)).square().mean().backward()
    optimiser.step(scale=0.5)
    moved = [(weight - old).detach() for weight, old in zip(layers.parameters(), before, strict=True)]
    spectrum = torch.linalg.svdvals(moved[2].flatten(1))
    assert 0.5 < (spectrum / 0.01).min() <= (spectrum / 0.01).max() < 1.5
    assert moved[0].abs().max().item() == pytest.approx(0.0005, rel=0.01)
    assert all(weight.grad is None for weight in layers.parameters())


def test_crops_are_windows_of_their_picture_where_there_is_something_to_see() -> None:
    pictures = torch.zeros(64, 3, 64, 64)
    pictures[:, :, 40:56, 40:56] = torch.randn(64, 3, 16, 16)
    crops = busy_crops(pictures, torch.Generator().manual_seed(0))
    assert crops.shape == (64, 3, 32, 32)
    assert (crops.abs().amax(dim=(1, 2, 3)) > 0).float().mean() > 0.9
