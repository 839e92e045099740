"""The first oracle: a plain Euler loop over our velocity gives the latents of the stock pipeline."""

import pytest
import torch

from headrouter.models.backbone import Backbone

from .conftest import build, rows_of

PROMPT, NEGATIVE = "A photo of a cat, please!", "the dog"
STOCK = {
    "flux": {"guidance_scale": 3.0},
    "flux-true": {"guidance_scale": 2.5, "true_cfg_scale": 3.0, "negative_prompt": NEGATIVE},
    "schnell": {"true_cfg_scale": 3.0, "negative_prompt": NEGATIVE},
    "sd3": {"guidance_scale": 3.0, "negative_prompt": NEGATIVE},
    "sd3.5-medium": {"guidance_scale": 3.0, "negative_prompt": NEGATIVE},
    "sd3.5-large": {"guidance_scale": 3.0, "negative_prompt": NEGATIVE},
    "sd3-without-t5": {"guidance_scale": 3.0, "negative_prompt": NEGATIVE, "max_sequence_length": 24},
}


def generate(backbone: Backbone, guidance: float, width: int, height: int, steps: int) -> torch.Tensor:
    pipeline = backbone.pipeline
    channels, rows, columns = backbone.latent_shape(width, height)
    latents = torch.randn(1, channels, rows, columns, generator=torch.Generator().manual_seed(1))
    source = rows_of(backbone, PROMPT, guidance=guidance, negative=NEGATIVE)
    grid = backbone.sigmas(steps, width, height)
    for sigma, after in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
        latents = latents + (after - sigma) * backbone.velocity(latents, sigma, source)
    return (
        pipeline._pack_latents(latents, 1, channels, rows, columns) if hasattr(pipeline, "_pack_latents") else latents
    )


def stock(backbone: Backbone, width: int, height: int, steps: int, **arguments) -> torch.Tensor:
    arguments.setdefault("max_sequence_length", 24)
    return backbone.pipeline(
        PROMPT,
        width=width,
        height=height,
        num_inference_steps=steps,
        generator=torch.Generator().manual_seed(1),
        output_type="latent",
        **arguments,
    ).images


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.1
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize("size", [(32, 32), (48, 32)])
@pytest.mark.parametrize("kind", STOCK)
def test_guided_generation_is_the_stock_pipelines(kind, size):
    backbone = build(kind)
    close(generate(backbone, 3.0, *size, steps=4), stock(backbone, *size, steps=4, **STOCK[kind]))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("flux", {"base_shift": 0.1, "max_shift": 2.0, "base_image_seq_len": 8, "max_image_seq_len": 64}),
        ("flux", {"use_karras_sigmas": True}),
        ("flux", {"shift_terminal": 0.1}),
        ("sd3", {"use_dynamic_shifting": True, "base_image_seq_len": 8, "max_image_seq_len": 64}),
    ],
    ids=["flux-shift", "flux-karras", "flux-terminal", "sd3-dynamic"],
)
def test_the_schedulers_settings_are_respected(kind, change):
    backbone = build(kind)
    scheduler = backbone.pipeline.scheduler
    plain = backbone.sigmas(4, 48, 32)
    backbone.pipeline.scheduler = type(scheduler).from_config(scheduler.config, **change)
    assert not torch.equal(backbone.sigmas(4, 48, 32), plain)
    close(
        generate(backbone, 3.0, 48, 32, steps=4),
        stock(
            backbone, 48, 32, steps=4, guidance_scale=3.0, **({"negative_prompt": NEGATIVE} if kind == "sd3" else {})
        ),
    )


def test_the_grid(backbone):
    grid = backbone.sigmas(5, 48, 32)
    assert grid.dtype == torch.float64
    assert grid.device.type == "cpu"
    assert grid[-1] == 0
    assert 0.9 < grid[0] <= 1
    assert (grid.diff() < 0).all()
    assert "num_inference_steps" not in vars(backbone.pipeline.scheduler), "the pipeline keeps its own grid"
