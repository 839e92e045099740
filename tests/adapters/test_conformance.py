"""Every kind of model that the adapters drive passes the conformance kit."""

import pytest

from headrouter.testing import BackboneConformance

from .conftest import SUBJECTS


class TestAdapters(BackboneConformance):
    @pytest.fixture(params=SUBJECTS.values(), ids=SUBJECTS)
    def backbone(self, request):
        return request.param
