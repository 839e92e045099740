"""The adapters pass the conformance kit, without known failures, and are short."""

import ast
from pathlib import Path

import headrouter_chroma.backbone
import headrouter_chroma.testing
import headrouter_flux2.backbone
import headrouter_flux2.testing
import headrouter_flux_kontext.backbone
import headrouter_flux_kontext.testing
import headrouter_krea2.backbone
import headrouter_krea2.testing
import headrouter_ovis_image.backbone
import headrouter_ovis_image.testing
import headrouter_qwen_image.backbone
import headrouter_qwen_image.testing
import headrouter_qwen_image_edit.backbone
import headrouter_qwen_image_edit.testing
import headrouter_z_image.backbone
import headrouter_z_image.testing
import pytest

from headrouter.testing import BackboneConformance
from headrouter.testing.check import run
from headrouter.testing.checks.backbone import CHECKS

MODULES = {
    "qwen-image": headrouter_qwen_image,
    "qwen-image-edit": headrouter_qwen_image_edit,
    "z-image": headrouter_z_image,
    "ovis-image": headrouter_ovis_image,
    "chroma": headrouter_chroma,
    "flux2": headrouter_flux2,
    "flux-kontext": headrouter_flux_kontext,
    "krea2": headrouter_krea2,
}
KLEIN = headrouter_flux2.testing.subjects_of_klein()
EDIT_PLUS = headrouter_qwen_image_edit.testing.subjects_of_plus()
SUBJECTS = {
    subject.name: subject
    for subject in (*(each for module in MODULES.values() for each in module.testing.subjects()), *KLEIN, *EDIT_PLUS)
}
DISTILLED = {
    name: SUBJECTS.pop(name)
    for name in (
        "flux2-klein-distilled",
        "krea2-turbo",
        "flux-kontext-true",
        "qwen-image-edit",
        "qwen-image-edit-plus",
    )
}
"""Models of which little differs from another's."""


class TestFamilies(BackboneConformance):
    @pytest.fixture(params=SUBJECTS.values(), ids=SUBJECTS)
    def backbone(self, request):
        return request.param


@pytest.mark.parametrize("name", DISTILLED)
@pytest.mark.parametrize(
    "check", ["generation_is_the_references", "decoding_is_the_references", "rows_are_independent"]
)
def test_a_distilled_model_is_the_stock_pipeline_too(name, check):
    """Beside the time grid, and guidance that one of them does without, nothing differs."""
    result = run(next(each for each in CHECKS if each.name == check), DISTILLED[name])
    assert result.outcome == "passed", result.message


@pytest.mark.parametrize(
    "check",
    [
        "generation_with_pictures_is_the_references",
        "reference_pictures_are_where_the_layout_says",
        "each_reference_picture_matters",
        "each_row_has_its_own_reference_pictures",
        "prompts_say_whether_they_read_pictures",
        "words_are_at_their_positions",
        "no_joint_attention_is_missed",
    ],
)
def test_a_model_that_reads_several_pictures(check):
    """The rest of the kit is about what it shares with Qwen-Image."""
    result = run(next(each for each in CHECKS if each.name == check), DISTILLED["qwen-image-edit-plus"])
    assert result.outcome == "passed", result.message


@pytest.mark.parametrize("name", MODULES)
def test_an_adapter_is_short(name):
    text = Path(MODULES[name].backbone.__file__).read_text(encoding="utf-8")
    assert lines_of_code(text) <= (90 if name == "flux2" else 60)  # that one drives two backbones


def lines_of_code(text):
    """Number of lines without docstrings, comments and blank ones."""
    left_out = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            left_out |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and at not in left_out for at, line in lines)
