"""Adapters of families that headrouter does not ship pass the kit, written from the tutorial alone."""

import pytest

from headrouter.testing import BackboneConformance

from .families.chroma import CHROMA
from .families.flux2 import FLUX2

FAMILIES = {subject.name: subject for subject in (CHROMA, FLUX2)}


class TestFamilies(BackboneConformance):
    @pytest.fixture(params=FAMILIES)
    def backbone(self, request):
        return FAMILIES[request.param]
