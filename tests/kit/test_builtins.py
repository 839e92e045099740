"""headrouter's own backbones, inversions, methods and plug-ins pass their checks."""

import pytest
from headrouter_inversions.euler import Euler
from headrouter_inversions.rf import RFInversion

from headrouter.methods.head_router.method import HeadRouter, NoMethod
from headrouter.methods.word_maps import WordMaps
from headrouter.plugins import registry
from headrouter.testing import (
    BackboneConformance,
    BackboneSubject,
    InversionConformance,
    InversionSubject,
    MethodConformance,
    MethodSubject,
    PluginConformance,
    PluginSubject,
)
from headrouter.testing.toy import ToyMMDiT

FREE = frozenset({"free"})
NEUTRAL = HeadRouter(gamma=0.0, image_tokens="attention", nu=0.0, rho=0.0)


class TestToy(BackboneConformance):
    @pytest.fixture(params=[True, False], ids=["text-first", "text-last"])
    def backbone(self, request):
        return BackboneSubject("toy", lambda: ToyMMDiT(text_first=request.param))


class TestInversions(InversionConformance):
    @pytest.fixture(
        params=[
            InversionSubject("euler", Euler(), FREE),
            InversionSubject("euler-current", Euler(told="current"), FREE),
            InversionSubject("euler-fixed-point", Euler(fixed_point=2), FREE),
            InversionSubject("rf", RFInversion()),
            InversionSubject("rf-free", RFInversion(gamma=0.0, eta=0.0), FREE),
            InversionSubject("rf-decay", RFInversion(eta=0.5, stop=1.0, decay=1.0)),
        ],
        ids=lambda subject: subject.name,
    )
    def inversion(self, request):
        return request.param


class TestMethods(MethodConformance):
    @pytest.fixture(
        params=[
            MethodSubject("headrouter", HeadRouter(), NEUTRAL),
            MethodSubject("headrouter-both-rows", HeadRouter(rho=0.3, text_rows="both", text_blocks="all"), NEUTRAL),
            MethodSubject(
                "headrouter-features", HeadRouter(image_tokens="features", token_form="centred", nu=3.0), NEUTRAL
            ),
            MethodSubject("none", NoMethod(), NoMethod(), acts=False),
            MethodSubject("maps", WordMaps(), WordMaps(), acts=False),
        ],
        ids=lambda subject: subject.name,
    )
    def method(self, request):
        return request.param


class TestPlugins(PluginConformance):
    @pytest.fixture(params=[row.name for row in registry().statuses])
    def plugin(self, request):
        return PluginSubject(request.param)
