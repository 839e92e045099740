"""What a plug-in names as text, `module:attribute`: whatever importing or calling it does is a sentence, and no command dies."""

import json

import hostile
import pytest
from headrouter_inversions.euler import Euler

from headrouter import plugins
from headrouter.cli import main
from headrouter.editing.assembly import inversion_of, model_of, part_class
from headrouter.editing.tuning import with_preset
from headrouter.errors import HeadRouterError, InvalidInputError, PluginError, PluginWarning
from headrouter.methods.head_router.method import HeadRouter
from headrouter.plugins.schema import schema
from headrouter.plugins.specifications import KINDS, BackboneSpec, InversionSpec, MethodSpec

SPECS = {"backbone": BackboneSpec, "inversion": InversionSpec, "method": MethodSpec}
NO_CLASS = (
    "X = 5",
    "X = None",
    "X = print",
    "X = dict",
    "def X(): ...",
    "class X: ...",
    "import json as X",
    "Y = 5",
    "X = object()",
)
"""Modules whose ``X`` is no class of any kind of component."""


def module(site, number, code):
    """A module on the path, and its name."""
    name = f"target_{number}_{site.path.name}"
    (site.path / f"{name}.py").write_text(code)
    return name


@pytest.fixture
def broken(site, monkeypatch):
    """Components of each kind whose targets raise or are no class, and models whose sources raise or are no folder."""
    targets = [hostile.HEAD + raises for raises in hostile.RAISES] + list(NO_CLASS)
    sources = [f"def X():\n    {raises}" for raises in hostile.RAISES] + [f"def X(): return {v}" for v in hostile.WRONG]
    sources += [hostile.HEAD + raises for raises in hostile.RAISES] + ["X = 5", "Y = 5"]
    calls = {f"register_{kind}s": [] for kind in (*SPECS, "model")}
    for number, code in enumerate(targets):
        for kind, spec in SPECS.items():
            target = f"{module(site, f'{kind}{number}', code)}:X"
            calls[f"register_{kind}s"].append(f"register({spec.__name__}('bad{number}', {target!r}))")
    for number, code in enumerate(sources):
        source = f"{module(site, f'source{number}', hostile.HEAD + code)}:X"
        calls["register_models"].append(f"register(Model('bad{number}', 'bad0', {source!r}))")
    site.add("headrouter-bad", hostile.HEAD + "".join(hostile.hook(name, *some) for name, some in calls.items()))
    registry = site.load(HEADROUTER_STRICT_PLUGINS="1")
    monkeypatch.setattr(plugins, "_registry", registry)
    return registry


def refused(function, *arguments):
    with pytest.raises(PluginError) as caught:
        function(*arguments)
    text = str(caught.value)
    assert "'bad" in text or "the source of a model" in text
    assert "\n" not in text and "Traceback" not in text and text.isprintable() and len(text) < 700
    return text


def test_targets_that_raise_or_are_no_class_of_their_kind(broken):
    said = [refused(part_class, kind, entry.item.name) for kind in SPECS for entry in broken.entries(kind)]
    assert len(said) == 3 * (len(hostile.RAISES) + len(NO_CLASS)) >= 60
    assert sum("must be a class derived from headrouter." in text for text in said) == 3 * (len(NO_CLASS) - 1)


def test_sources_that_raise_or_give_no_folder(broken):
    said = [refused(model.locate) for model in broken.models("bad0")]
    assert len(said) >= 45
    assert refused(model_of, "bad0", "bad0") == said[0]
    assert "must return the folder of its weights (got a int)" in "".join(said)


def test_commands_go_on_without_them(broken, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert main(["doctor", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert [row["weights"] for row in rows] == ["broken"] * len(broken.entries("model"))
    for command in ("plugins", "presets"):
        assert main([command]) == 0
    with pytest.warns(PluginWarning) as caught:
        assert schema()["properties"] == dict.fromkeys(KINDS, False)
    assert [str(warning.message).partition(" is ")[0] for warning in caught] == [
        entry.qualified_name for kind in SPECS for entry in broken.entries(kind)
    ]
    assert main(["conformance", "bad1"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_comparison_of_all_inversions_leaves_out_those_that_cannot_be_used(site, monkeypatch):
    from headrouter.cli.commands.reconstruct import _all

    module(site, "broken", "raise SystemExit")
    odd = """
from headrouter_inversions.euler import Euler
from pydantic import model_validator
class X(Euler):
    @model_validator(mode="before")
    def look(cls, data): return data["nothing"]
"""
    good, bad = "headrouter_inversions.euler:Euler", f"target_broken_{site.path.name}:X"
    targets = {"bad": bad, "good": good, "odd": f"{module(site, 'odd', odd)}:X"}
    calls = [f"register(InversionSpec({name!r}, {target!r}))" for name, target in targets.items()]
    site.add("headrouter-acme", hostile.HEAD + hostile.hook("register_inversions", *calls))
    monkeypatch.setattr(plugins, "_registry", site.load())
    with pytest.warns(PluginWarning) as caught:
        assert list(_all()) == ["headrouter-acme:good"]
    first, second = (str(warning.message) for warning in caught)
    assert first.startswith("headrouter-acme:bad is left out: inversion 'bad' could not be imported")
    assert second == "headrouter-acme:odd is left out: KeyError: 'nothing'"
    with pytest.raises(HeadRouterError, match="could not be imported"):
        inversion_of("bad")


def test_doctor_shows_models_whose_backbone_nobody_brings(site, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    site.add(
        "headrouter-acme", hostile.HEAD + hostile.hook("register_models", "register(Model('a', 'nobodys', 'o/r'))")
    )
    monkeypatch.setattr(plugins, "_registry", site.load())
    assert main(["doctor", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["models"]
    assert (row["model"], row["remark"]) == ("a", "no plug-in brings the backbone 'nobodys'")


@pytest.mark.parametrize(
    ("values", "said"), [("{'gamma': -1}", "`gamma`: Input should be"), ("{'colour': 'red'}", "`colour`: unknown name")]
)
def test_a_preset_that_does_not_fit_is_named(site, monkeypatch, values, said):
    preset = f"Preset('odd', ('method', 'acme'), 28, {values}, 'nowhere')"
    method = "MethodSpec('acme', 'headrouter.methods.head_router.method:HeadRouter')"
    hooks = hostile.hook("register_methods", f"register({method})") + hostile.hook(
        "register_presets", f"register({preset})"
    )
    site.add("headrouter-acme", hostile.HEAD + hooks)
    monkeypatch.setattr(plugins, "_registry", site.load())
    with pytest.raises(
        InvalidInputError, match="`preset` 'odd' does not fit the method 'headrouter-acme:acme' as it is set: "
    ) as caught:
        with_preset("odd", Euler(), [HeadRouter()], 28)
    assert said in str(caught.value)


@pytest.mark.parametrize("code", ["'text'", "[0]", "1.5", "256", "-1", "object()"])
def test_a_command_must_return_an_exit_code(site, monkeypatch, capsys, code):
    body = f"subcommands.add_parser('odd').set_defaults(run=lambda arguments: {code})"
    site.add("headrouter-acme", hostile.HEAD + hostile.hook("register_commands", body, argument="subcommands"))
    monkeypatch.setattr(plugins, "_registry", site.load())
    assert main(["odd"]) == 2
    assert "the command 'odd' must return an exit code, 0 to 255 (got " in capsys.readouterr().err
