"""The worked example: an adapter of a third party, small, and held by the kit alone."""

import ast
import re
from pathlib import Path

import headrouter_auraflow.backbone
import headrouter_diffusers
import headrouter_flux.backbone
import pytest
from headrouter_auraflow.parameters import AuraFlowParameters
from headrouter_auraflow.testing import subjects, tiny_auraflow

from headrouter.errors import InvalidInputError
from headrouter.plugins import registry
from headrouter.testing import BackboneConformance


class TestAuraFlow(BackboneConformance):
    @pytest.fixture
    def backbone(self):
        return subjects()[0]


def test_the_number_of_text_tokens():
    backbone = AuraFlowParameters(max_sequence_length=12).load("tiny", tiny_auraflow())
    assert backbone.encode_prompts(["a cat"])[0].tensors["prompt_embeds"].shape[1] == 12
    with pytest.raises(
        InvalidInputError, match="`max_sequence_length` must be at most 256, what this model takes, got 300"
    ):
        AuraFlowParameters(max_sequence_length=300).load("tiny", tiny_auraflow())


def lines_of_code(path):
    """Number of lines without docstrings, comments and blank ones."""
    text = Path(path).read_text(encoding="utf-8")
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    numbered = enumerate(text.splitlines(), 1)
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and at not in documented for at, line in numbered
    )


@pytest.mark.parametrize(("module", "most"), [(headrouter_auraflow.backbone, 60), (headrouter_flux.backbone, 100)])
def test_an_adapter_is_short(module, most):
    assert lines_of_code(module.__file__) <= most


def test_sizes_beyond_its_positions_are_refused():
    backbone = subjects()[0].build()
    assert backbone.latent_shape(96, 48) == (4, 12, 24)
    with pytest.raises(InvalidInputError, match="96 pixels a side"):
        backbone.latent_shape(104, 48)


def test_it_is_found_by_its_entry_point():
    assert registry().backbone("auraflow").load() is headrouter_auraflow.backbone.AuraFlowParameters
    index = {"_class_name": "AuraFlowPipeline"}
    assert registry().identify_backbone(index, "anywhere").name == "auraflow"


def test_the_shared_part_of_the_adapters_names_no_model():
    folder = Path(headrouter_diffusers.__file__).parent
    for file in sorted(folder.rglob("*.py")):
        if file.name != "testing.py":
            found = re.findall(
                r"(?i)flux|sd3|stable.?diffusion|aura|chroma|qwen|krea", file.read_text(encoding="utf-8")
            )
            assert not found, f"{file.name} names {found}"
