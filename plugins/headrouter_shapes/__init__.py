"""Provide a drawn world with known answers, an oracle that reads it, and small pipelines trained on it.

Importing this package loads neither torch nor diffusers, numpy or Pillow.
"""

from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Callable

from headrouter.plugins.specifications import DatasetSpec, MetricSpec, Model, Preset, hookimpl
from headrouter_shapes.weights import BUNDLED, model_path

__all__ = ["model_path"]

headrouter_api = 1

_WORD_BLOCKS = {"sd3.5": (1, 4, 5, 3, 2, 0), "sd3": (1, 4, 3, 2, 0, 5), "flux": (7, 1, 5, 6, 4, 3, 2, 0)}
"""Of the weights that are bundled, best first: ``headrouter analyze blocks --model shapes --pictures 48 --steps 8``."""

_TRAINED = {"flux-kontext": "changes of drawn shapes"}

_GUIDANCE = {"flux-kontext": 2.0}
"""The best of four on *tune*: docs/instruction.md."""


@hookimpl
def register_models(register: Callable[[Model], None]) -> None:
    """Register one small model for each backbone: 64 × 64 pixels, the words of the drawn world."""
    for backbone in BUNDLED:
        register(
            Model(
                name="shapes",
                backbone=backbone,
                source=f"headrouter_shapes.weights:path_{backbone.replace('.', '').replace('-', '_')}",
                steps=28,
                guidance=_GUIDANCE.get(backbone, 3.0),
                area=64 * 64,
                licence="Apache-2.0",
                summary=f"Trained on {_TRAINED.get(backbone, 'drawn shapes')}, bundled; runs anywhere.",
                word_blocks=_WORD_BLOCKS.get(backbone, ()),
            )
        )


@hookimpl
def register_presets(register: Callable[[Preset], None]) -> None:
    """Register the presets that the benchmark found for each kind of edit."""
    from headrouter_shapes.presets import presets

    for preset in presets():
        register(preset)


@hookimpl
def register_datasets(register: Callable[[DatasetSpec], None]) -> None:
    """Register the edits of drawings."""
    summary = "Edits of drawings, whose right result is known pixel by pixel."
    register(DatasetSpec("shapes", "headrouter_shapes.bench.dataset:Shapes", summary=summary))


@hookimpl
def register_metrics(register: Callable[[MetricSpec], None]) -> None:
    """Register their measures."""
    summary = "Success, preservation and distance to the truth of edits of drawings."
    register(
        MetricSpec("shapes-1", "headrouter_shapes.bench.dataset:ShapesMetric", aliases=("shapes",), summary=summary)
    )


@hookimpl
def register_commands(subcommands: "_SubParsersAction[ArgumentParser]") -> None:
    """Register ``headrouter demo`` and ``headrouter bench``."""
    from headrouter_shapes import bench_command, demo

    demo.add(subcommands)
    bench_command.add(subcommands)
