"""Tiny backbones of every kind, and listeners."""

import shutil

import pytest
import torch
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux import testing as flux
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3 import testing as sd3
from headrouter_sd3.parameters import SD3Parameters

from headrouter.models.backbone import Backbone
from headrouter.testing.probe import Recorder as Plain
from headrouter.testing.probe import rows_of

collect_ignore = ["far.py", "edits_far_away.py"]  # a script that test_transfers.py runs, and what it imports
__all__ = ["KINDS", "SUBJECTS", "Plain", "Steering", "build", "noise", "rows_of"]

SUBJECTS = {subject.name: subject for subject in (*flux.subjects(), *sd3.subjects(), *sd3.subjects_35())}
KINDS = tuple(SUBJECTS)


def build(kind: str, seed: int = 0) -> Backbone:
    """A tiny backbone."""
    match kind:
        case "flux":
            return FluxParameters().load("tiny", tiny_flux(seed=seed))
        case "sd3":
            return SD3Parameters().load("tiny", tiny_sd3(seed=seed))
    return SUBJECTS[kind].build()


@pytest.fixture(params=KINDS)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """One tiny backbone of each kind."""
    return build(request.param)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Folders of tiny pipelines."""
    folder = tmp_path_factory.mktemp("pipelines")
    for name, pipeline in (("flux", tiny_flux()), ("sd3", tiny_sd3())):
        pipeline.save_pretrained(folder / name)
    return folder


@pytest.fixture
def broken(saved, tmp_path):
    """A copy of the tiny SD3 pipeline, to be broken."""
    return shutil.copytree(saved / "sd3", tmp_path / "broken")


class Steering(Plain):
    """Doubles one head of the conditional rows and shrinks the text."""

    def attention(self, event):
        output = super().attention(event).clone()
        for place, item in enumerate(event.rows):
            if item.cfg_branch == "conditional":
                output[place, 1] *= 2
        return output

    def text(self, stream):
        return super().text(stream) * 0.9


class ImageOnly(Plain):
    """Hears attention among image tokens too, and doubles it in conditional rows where told to."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor, self.alone = factor, []

    def image_attention(self, event):
        self.alone.append(event)
        output = event.attend().clone()
        output[[item.cfg_branch == "conditional" for item in event.rows]] *= self.factor
        return output


def noise(backbone: Backbone, rows: int = 1, width: int = 48, height: int = 32, seed: int = 0) -> torch.Tensor:
    """Latents."""
    shape = (rows, *backbone.latent_shape(width, height))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
