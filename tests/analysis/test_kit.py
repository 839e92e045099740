"""The methods pass the checks that every method passes."""

import json

import pytest
import torch
from headrouter_analysis.methods.depth import TextShare
from headrouter_analysis.methods.dropout import HeadDropout
from headrouter_analysis.methods.maps import AttentionMaps
from headrouter_analysis.methods.routing import ProfileRouting
from headrouter_analysis.methods.sensitivity import HeadSensitivity
from headrouter_analysis.methods.swap import HeadSwap
from headrouter_analysis.profile import Profile

from headrouter.testing import MethodConformance, MethodSubject

HEADS = ((0, 1), (1, 2), (2, 0))


class TestMethods(MethodConformance):
    @pytest.fixture(
        params=[
            MethodSubject("attention-maps", AttentionMaps(), AttentionMaps(), acts=False),
            MethodSubject("image-keys", AttentionMaps(direction="I2T", keep=("step", "head")), acts=False),
            MethodSubject("text-share", TextShare(), TextShare(), acts=False),
            MethodSubject("head-sensitivity", HeadSensitivity(), HeadSensitivity(), acts=False),
            MethodSubject("head-dropout", HeadDropout(heads=HEADS), HeadDropout()),
            MethodSubject("head-dropout-mean", HeadDropout(heads=HEADS, fill="mean", rows="all", branches="both")),
            MethodSubject("head-swap", HeadSwap(heads=HEADS), HeadSwap()),
        ],
        ids=lambda subject: subject.name,
    )
    def method(self, request):
        return request.param


class TestProfileRouting(MethodConformance):
    @pytest.fixture
    def method(self, tmp_path):
        mean = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(0)).double()
        (tmp_path / "heads.json").write_text(json.dumps(Profile(("colour",), mean, mean, 2, {}).as_dict()))
        known = {"profile": str(tmp_path), "semantic": "colour"}
        return MethodSubject("profile-routing", ProfileRouting(**known), ProfileRouting(gamma=0.0, **known))
