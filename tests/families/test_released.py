"""What is said of released models: counted from their configurations, with sources, and the same in docs/models.md."""

import json
from pathlib import Path

import pytest
from headrouter_diffusers.components.counting import count

from headrouter.cli import main
from headrouter.cli.commands.models import described, markdown
from headrouter.errors import InvalidInputError, PluginError
from headrouter.models.facts import components_in, facts_of
from headrouter.plugins import registry
from headrouter.plugins.specifications import Model

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
RELEASED = [entry.item for entry in registry().entries("model") if ":" not in entry.item.source]
FILES = sorted({model.facts for model in RELEASED})
BILLIONS = {
    ("flux", "dev"): 12,
    ("sd3", "medium"): 2,
    ("sd3.5", "large"): 8.1,
    ("auraflow", "v0.3"): 6.8,
    ("flux2", "dev"): 32,
    ("flux2-klein", "4b"): 4,
    ("flux2-klein", "9b"): 9,
    ("chroma", "hd"): 8.9,
    ("krea2", "turbo"): 12.9,
    ("flux-kontext", "dev"): 12,
    ("qwen-image-edit-plus", "2511"): 20,
    ("qwen-image", "first"): 20,
    ("z-image", "base"): 6,
    ("ovis-image", "7b"): 7,
}
"""As their makers say."""


def test_every_released_model_is_described():
    assert all(model.facts for model in RELEASED)
    told = {(row["backbone"], row["model"]) for row in described()}
    assert told == {(model.backbone, model.name) for model in RELEASED}


def test_weights_are_counted_from_the_configurations():
    """Those that several files describe once; they say the same of them."""
    components = {repr(each): each for file in FILES for each in components_in(file).values()}
    kinds = {(each.kind, repr(each.configuration)) for each in components.values()}
    assert len(kinds) == len(components) > 20
    for component in components.values():
        counted = count(component.kind, component.configuration)
        assert counted == {key: getattr(component, key) for key in counted}, component.kind


@pytest.mark.parametrize("model", BILLIONS, ids=" ".join)
def test_the_transformer_has_the_size_that_its_makers_name(model):
    [found] = [each for each in RELEASED if (each.backbone, each.name) == model]
    facts, _ = facts_of(found)
    transformer = components_in(found.facts)[facts.components[0]]
    assert transformer.weights / 1e9 == pytest.approx(BILLIONS[model], rel=0.06)


def test_memory_by_hand():
    [dev] = [model for model in RELEASED if (model.backbone, model.name) == ("flux", "dev")]
    _, memory = facts_of(dev)
    parts = components_in(dev.facts)
    large = [parts["flux-dev"], parts["t5-xxl"]]
    rest = 2 * parts["clip-l"].weights + 4 * parts["autoencoder"].weights
    kept = 2 * sum(part.weights - part.linear for part in large)
    assert memory.bfloat16 == 2 * sum(part.weights for part in large) + rest
    assert memory.eight_bits == sum(part.linear for part in large) + kept + rest
    assert memory.four_bits == 0.5625 * sum(part.linear for part in large) + kept + rest
    assert memory.grouped == 2 * 2 * 32128 * 4096, "two layers as large as T5's table of words"


def test_constants_name_what_is_there():
    for row in described():
        for constants in row["constants"]:
            registry().inversion(constants["inversion"])
            for name in constants["presets"]:
                registry().preset("inversion", constants["inversion"], name)
            assert constants["source"]


def test_the_page_has_the_tables():
    """`headrouter models --markdown` prints them; they go between the two comments."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition("<!-- models -->\n")[2].partition("\n<!-- end -->")[0] == markdown(described())


def test_the_command(capsys):
    assert main(["models", "flux2-klein", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in rows] == ["base-4b", "4b", "base-9b", "9b"]
    assert rows[1]["guidance"] == 1 and rows[1]["memory"]["bfloat16"] > rows[1]["memory"]["four_bits"]
    assert main(["models", "sd3"]) == 0
    printed = capsys.readouterr().out
    assert "14.5 GiB" in printed and "flowedit-sd3" in printed and "guidance 3.5 of the source" in printed
    assert main(["models", "--json", "--markdown"]) == 2
    assert "`--json` and `--markdown`" in capsys.readouterr().err


def test_a_file_of_facts_that_is_not_there_or_says_nothing_of_a_model():
    with pytest.raises(PluginError, match=r"could not be read from 'headrouter_flux:nowhere\.json'"):
        facts_of(Model("dev", "flux", "x/y", facts="headrouter_flux:nowhere.json"))
    with pytest.raises(PluginError, match="says nothing of 'flux/other'"):
        facts_of(Model("other", "flux", "x/y", facts="headrouter_flux:released.json"))
    assert facts_of(Model("other", "flux", "x/y")) is None
    with pytest.raises(InvalidInputError, match="`facts` must look like"):
        Model("other", "flux", "x/y", facts="released.json")
