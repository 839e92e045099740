"""Every metric passes the kit, on tiny networks."""

import pytest
from headrouter_metrics.clip import ClipDirectional, ClipImage, ClipText
from headrouter_metrics.dino import Dino, Dinov2
from headrouter_metrics.lpips import Lpips
from headrouter_metrics.pie_strict import PieStrict
from headrouter_metrics.pie_v1 import PieV1
from headrouter_metrics.pixels import MeanSquaredError, Psnr, Ssim
from headrouter_metrics.structure import StructureDistance

from headrouter.plugins import registry
from headrouter.testing import MetricConformance, MetricSubject

from .edits import edit

ALL = ("whole", "background", "edited")
MADE = {
    "psnr-1": lambda tiny: Psnr(regions=ALL),
    "mse-1": lambda tiny: MeanSquaredError(regions=ALL),
    "ssim-1": lambda tiny: Ssim(regions=ALL),
    "lpips-1": lambda tiny: Lpips(net="squeeze", weights=str(tiny["lpips"]), regions=ALL),
    "clip-t-1": lambda tiny: ClipText(model=str(tiny["clip"]), regions=("whole", "edited")),
    "clip-i-1": lambda tiny: ClipImage(model=str(tiny["clip"])),
    "clip-directional-1": lambda tiny: ClipDirectional(model=str(tiny["clip"])),
    "dino-1": lambda tiny: Dino(model=str(tiny["dino"])),
    "dinov2-1": lambda tiny: Dinov2(model=str(tiny["dinov2"])),
    "structure-distance-1": lambda tiny: StructureDistance(model=str(tiny["dino"])),
    "pie-v1": lambda tiny: PieV1(**pie(tiny)),
    "pie-strict-1": lambda tiny: PieStrict(**pie(tiny)),
}
AGREE_WITH_TEXT = ("clip-t-1", "clip-directional-1", "pie-v1", "pie-strict-1")
EDITS = [edit((64, 48), 0), edit((80, 80), 1, "a [blue] dog"), edit((64, 48), 2, "a boat")]


def pie(tiny):
    return {"clip": str(tiny["clip"]), "dino": str(tiny["dino"]), "squeezenet": str(tiny["lpips"])}


def test_all_that_are_registered_are_here():
    registered = {
        entry.item.name: entry.item
        for entry in registry().entries("metric")
        if "headrouter_metrics" in entry.item.target
    }
    assert registered.keys() == MADE.keys()
    folders = dict.fromkeys(("clip", "dino", "dinov2", "lpips"), "x")
    assert all(registered[name].load() is type(make(folders)) for name, make in MADE.items())


class TestMetrics(MetricConformance):
    @pytest.fixture(params=MADE)
    def metric(self, request, tiny):
        name = request.param
        return MetricSubject(name, MADE[name](tiny), lambda: EDITS, likeness=name not in AGREE_WITH_TEXT)
