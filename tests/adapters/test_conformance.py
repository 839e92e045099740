"""Every kind of model that the adapters drive passes the conformance kit."""

import pytest

from headrouter.testing import BackboneConformance
from headrouter.testing.check import run
from headrouter.testing.checks.backbone import CHECKS

from .conftest import SUBJECTS

ALIKE = ("schnell", "sd3.5-large")
"""Models of which little differs from another's: from Flux in two passes, and from SD3.5-medium without its second attention."""


class TestAdapters(BackboneConformance):
    @pytest.fixture(params=[name for name in SUBJECTS if name not in ALIKE])
    def backbone(self, request):
        return SUBJECTS[request.param]


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize(
    "check",
    [
        "generation_is_the_references",
        "a_long_generation_is_the_references",
        "guidance_is_what_it_says",
        "each_branch_is_what_it_says",
        "rows_are_independent",
        "sites_are_numbered",
        "no_joint_attention_is_missed",
        "nothing_remains_after_exit",
    ],
)
def test_what_differs_of_models_that_are_like_another(name, check):
    result = run(next(each for each in CHECKS if each.name == check), SUBJECTS[name])
    assert result.outcome == "passed", result.message
