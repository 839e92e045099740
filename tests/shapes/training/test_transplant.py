"""What one backbone takes from another computes the same there."""

import copy

import pytest
import torch
from headrouter_shapes.pipelines.build import ShapesPipeline, build_pipeline
from headrouter_shapes.pipelines.folder import load_pipeline
from headrouter_shapes.pipelines.prompting import encode_prompts, velocity
from headrouter_shapes.pipelines.sampling import encode_pictures, starting_noise
from headrouter_shapes.training.transplant import transplant, without_norms
from headrouter_shapes.weights import model_path
from headrouter_shapes.world.caption import caption
from headrouter_shapes.world.pool import draw, training_scenes
from torch.nn import functional

from headrouter.errors import WeightsError


def _velocity(pipeline: ShapesPipeline, rows: int = 3) -> torch.Tensor:
    levels = torch.linspace(0.1, 0.9, rows)
    with torch.no_grad():
        return velocity(pipeline, starting_noise(1, rows), levels, encode_prompts(pipeline, ["a red star"] * rows))


def test_norms_fold_exactly_where_their_input_has_one_size(lively: dict[str, ShapesPipeline]) -> None:
    pipeline = copy.deepcopy(lively["sd3.5"])
    attention = pipeline.transformer.transformer_blocks[4].attn
    torch.nn.init.zeros_(attention.to_q.weight)
    torch.nn.init.normal_(attention.to_q.bias)
    bias = attention.to_q.bias.detach().unflatten(0, (6, 32))
    bias /= bias.square().mean(dim=1, keepdim=True).sqrt()
    attention.to_q.bias.data = 3.0 * bias.flatten()
    torch.nn.init.normal_(attention.norm_q.weight)
    folded = without_norms(pipeline)["transformer_blocks.4.attn.to_q.bias"]
    wanted = attention.norm_q(attention.to_q.bias.view(1, 6, 32)).flatten()
    torch.testing.assert_close(folded, wanted, rtol=1e-4, atol=1e-4)


def test_sd3_is_exactly_sd35_without_what_it_lacks(lively: dict[str, ShapesPipeline]) -> None:
    trained = copy.deepcopy(lively["sd3"])
    fresh = build_pipeline("sd3", trained.vae, seed=9)
    assert transplant(trained, fresh) == 1.0
    assert torch.equal(_velocity(fresh), _velocity(trained))
    assert transplant(lively["sd3.5"], fresh) == 1.0
    modulation = lively["sd3.5"].transformer.transformer_blocks[0].norm1.linear.weight
    assert torch.equal(fresh.transformer.transformer_blocks[0].norm1.linear.weight, modulation[: 6 * 192])


def test_flux_reads_and_writes_the_patches_of_sd3(lively: dict[str, ShapesPipeline]) -> None:
    trained, fresh = lively["sd3.5"], copy.deepcopy(lively["flux"])
    assert 0.6 < transplant(trained, fresh) < 0.8
    assert torch.equal(fresh.text_encoder_2.shared.weight, trained.text_encoder_3.shared.weight)
    latents = starting_noise(0, 2)
    packed = fresh._pack_latents(latents, 2, 16, 16, 16)
    wanted = trained.transformer.pos_embed.proj(latents).flatten(2).transpose(1, 2)
    torch.testing.assert_close(fresh.transformer.x_embedder(packed), wanted, rtol=1e-4, atol=1e-5)
    hidden = torch.randn(2, 64, 192, generator=torch.Generator().manual_seed(0))
    theirs = trained.transformer.proj_out(hidden).view(2, 8, 8, 2, 2, 16)
    theirs = torch.einsum("nhwpqc->nchpwq", theirs).reshape(2, 16, 16, 16)
    ours = fresh._unpack_latents(fresh.transformer.proj_out(hidden), 64, 64, fresh.vae_scale_factor)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    plain = torch.randn(2, 64, generator=torch.Generator().manual_seed(1))
    reader, theirs_reader = (one.transformer.time_text_embed.text_embedder.linear_1 for one in (fresh, trained))
    both = torch.cat([trained.text_encoder.text_projection(plain), torch.zeros(2, 64)], dim=1)
    torch.testing.assert_close(reader(plain), theirs_reader(both), rtol=1e-4, atol=1e-5)


def test_sd3_starts_ahead_of_an_untrained_pipeline() -> None:
    trained = load_pipeline(model_path("sd3.5"))
    clean, noise, levels = encode_pictures(trained, draw(5, 0, 8)), starting_noise(3, 8), torch.linspace(0.1, 1.0, 8)
    prompts = [caption(scene) for scene in training_scenes(5, 0, 8)]
    fresh = build_pipeline("sd3", trained.vae)
    transplant(trained, fresh)
    with torch.no_grad():
        noisy = torch.lerp(clean, noise, levels[:, None, None, None])
        made = velocity(fresh, noisy, levels, encode_prompts(fresh, prompts))
    untrained = (noise - clean).square().mean()  # a fresh pipeline says zero
    assert functional.mse_loss(made, noise - clean) < 0.6 * untrained


def test_flux_is_not_a_place_to_start_others_from(lively: dict[str, ShapesPipeline]) -> None:
    fresh = copy.deepcopy(lively["sd3"])
    before = _velocity(fresh)
    with pytest.raises(WeightsError, match=r"got flux"):
        transplant(lively["flux"], fresh)
    assert torch.equal(_velocity(fresh), before)
