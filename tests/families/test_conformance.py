"""The adapters pass the conformance kit, without known failures, and are short."""

import ast
from pathlib import Path

import headrouter_ovis_image.backbone
import headrouter_ovis_image.testing
import headrouter_qwen_image.backbone
import headrouter_qwen_image.testing
import headrouter_z_image.backbone
import headrouter_z_image.testing
import pytest

from headrouter.testing import BackboneConformance

MODULES = {"qwen-image": headrouter_qwen_image, "z-image": headrouter_z_image, "ovis-image": headrouter_ovis_image}
SUBJECTS = {subject.name: subject for module in MODULES.values() for subject in module.testing.subjects()}


class TestFamilies(BackboneConformance):
    @pytest.fixture(params=SUBJECTS.values(), ids=SUBJECTS)
    def backbone(self, request):
        return request.param


@pytest.mark.parametrize("name", MODULES)
def test_an_adapter_is_short(name):
    text = Path(MODULES[name].backbone.__file__).read_text(encoding="utf-8")
    assert lines_of_code(text) <= 60


def lines_of_code(text):
    """Number of lines without docstrings, comments and blank ones."""
    left_out = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            left_out |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and at not in left_out for at, line in lines)
