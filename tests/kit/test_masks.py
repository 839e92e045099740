"""headrouter's own masks pass their checks."""

import numpy as np
import pytest

from headrouter.masks.attention import AttentionMask
from headrouter.masks.mask import NoMask
from headrouter.masks.part import mask_of
from headrouter.masks.velocity import VelocityMask
from headrouter.masks.words import WordsMask
from headrouter.testing import MaskConformance, MaskSubject

HALF = np.arange(24)[None].repeat(16, 0) < 12


class TestMasks(MaskConformance):
    @pytest.fixture(
        params=[
            MaskSubject("picture", mask_of(HALF)),
            MaskSubject("words", WordsMask(theta=0.9)),
            MaskSubject("attention", AttentionMask()),
            MaskSubject("velocity", VelocityMask(window=1)),
            MaskSubject("short", VelocityMask(form="short")),
            MaskSubject("expression", mask_of("smooth(~words(theta=0.9), 0.2) & grow(velocity | attention, 0.1)")),
            MaskSubject("none", NoMask()),
        ],
        ids=lambda subject: subject.name,
    )
    def mask(self, request):
        return request.param
