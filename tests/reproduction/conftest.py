"""The reproduction files on data in the exact formats, small random pipelines of the real classes and tiny networks."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from data_sets import folders
from editors import tiny as pipelines
from headrouter_diffusers.testing import tiny_flux, tiny_sd35
from measuring import networks

from headrouter.config.configuration import Override
from headrouter.experiments import Experiment, read_experiment

FILES = Path(__file__).parents[2] / "experiments"
Settings = Mapping[str, Any]


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a user downloads: two data sets, four pipelines, four networks."""
    root = tmp_path_factory.mktemp("reproduction")
    texts = {"original_prompt": "a cat on a road", "editing_prompt": "a [dog] on a road"}
    rows = {f"{number:012}": folders.pie_row(number, kind, **texts) for number, kind in enumerate((0, 9))}
    folders.made(lambda folder: folders.pie_bench(folder, rows), root / "PIE-Bench_v1")
    folders.made(folders.tedbench_pp, root / "TEdBench_plusplus")
    builders: dict[str, Callable[[], Any]] = {
        "flux": lambda: tiny_flux(t5_length=48),
        "sd3.5": lambda: tiny_sd35(t5_length=48),
        "instruct-pix2pix": pipelines.instruct_pix2pix,
        "stable-diffusion": pipelines.stable_diffusion,
    }
    for name, build in builders.items():
        build().save_pretrained(root / name)
    for name in ("clip", "dino", "dinov2"):
        getattr(networks, name)(folders.made(lambda folder: folder, root / name))
    for net in ("alex", "squeeze"):
        networks.convolutions(root / "lpips", net)
    return root


def small(name: str, settings: Settings) -> Experiment:
    """A reproduction file with other places, and two steps of small pictures."""
    common = {"steps": 2, "guidance": 2.0, "size": [32, 32]}
    return read_experiment(FILES / name, overrides({**settings, **common}))


def overrides(settings: Settings) -> Sequence[Override]:
    return [Override(tuple(path.split("/")), value) for path, value in settings.items()]
