"""Untrained pipelines of the bundled architectures, made once."""

from collections.abc import Iterator

import pytest
import torch
from headrouter_shapes.pipelines.autoencoder import build_autoencoder
from headrouter_shapes.pipelines.build import BACKBONES, ShapesPipeline, build_pipeline


@pytest.fixture(scope="session")
def lively() -> Iterator[dict[str, ShapesPipeline]]:
    """One pipeline per backbone with random weights everywhere, also where training starts from zero."""
    made = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for backbone in BACKBONES:
            pipeline = build_pipeline(backbone, build_autoencoder())
            pipeline.set_progress_bar_config(disable=True)
            for weight in pipeline.transformer.parameters():
                if not weight.any():
                    torch.nn.init.normal_(weight, std=0.05)
            for part in pipeline.components.values():
                if isinstance(part, torch.nn.Module):
                    part.eval()
            made[backbone] = pipeline
    yield made
