"""What the registry does with what plug-ins bring."""

import argparse
import dataclasses
import pickle

import pytest

from headrouter import plugins
from headrouter.errors import InvalidInputError, PluginConflictError, PluginError, PluginWarning, UnknownNameError
from headrouter.plugins import Registry
from headrouter.plugins.specifications import BackboneSpec, InversionSpec, MethodSpec, Model, Preset, hookimpl
from headrouter.plugins.status import PluginStatus


class Everything:
    headrouter_api = 1

    @hookimpl
    def register_backbones(self, register):
        register(BackboneSpec("flux", "m:C", aliases=("flux.1",)))

    @hookimpl
    def register_inversions(self, register):
        register(InversionSpec("rf", "m:C"))

    @hookimpl
    def register_methods(self, register):
        register(MethodSpec("headrouter", "headrouter.methods.head_router.method:NoMethod", aliases=("hr",)))
        register(MethodSpec("other", "m:C"))

    @hookimpl
    def register_presets(self, register):
        register(Preset("mild", ("method", "headrouter"), 28, {"gamma": 0.1}, "a table"))
        register(Preset("mild", ("method", "other"), 28, {"gamma": 0.2}, "a figure"))

    @hookimpl
    def identify_backbone(self, model_index):
        return "flux" if model_index.get("_class_name") == "FluxPipeline" else None


def origin(distribution="headrouter", name="plugin"):
    return PluginStatus(name, distribution, "1.0", "module")


def plugin(**hooks):
    """A plug-in object with these hooks."""
    functions = {name: staticmethod(hookimpl(function, specname=name)) for name, function in hooks.items()}
    return type("Plugin", (), {"headrouter_api": 1, **functions})()


def methods(*specs):
    def register_methods(register):
        for spec in specs:
            register(spec)

    return plugin(register_methods=register_methods)


def test_every_kind_is_found_under_its_name():
    registry = Registry()
    status = registry.register(Everything())
    assert status.registers == (
        "backbone flux", "inversion rf", "method headrouter", "method other",
        "preset mild", "preset mild", "identify_backbone",
    )  # fmt: skip
    assert registry.backbone("FLUX.1").name == "flux"
    assert registry.inversion("rf").kind == "inversion"
    assert registry.method("hr").load().__name__ == "NoMethod"
    assert registry.qualified_name(registry.method("other")) == "runtime:other"


def test_a_preset_belongs_to_its_component():
    registry = Registry()
    registry.register(Everything())
    assert registry.preset("method", "hr", "mild").values == {"gamma": 0.1}
    assert registry.preset("method", "other", "MILD").values == {"gamma": 0.2}
    assert len(registry.presets()) == len(registry.presets("method")) == 2
    assert [preset.provenance for preset in registry.presets("method", "runtime:other")] == ["a figure"]
    with pytest.raises(UnknownNameError, match=r"unknown method headrouter preset 'mid'\. Did you mean 'mild'"):
        registry.preset("method", "headrouter", "mid")


def test_unregister_takes_out_everything():
    registry, everything = Registry(), Everything()
    registry.register(everything)
    registry.unregister(everything)
    assert registry.entries() == registry.statuses == []
    registry.register(everything)
    assert registry.backbone("flux")
    with pytest.raises(PluginError, match="not a registered plug-in"):
        registry.unregister(object())


def test_a_stranger_with_a_word_of_headrouters_own_is_told_so():
    registry = Registry()
    registry.admit(Everything(), origin())
    status = registry.admit(methods(MethodSpec("HR".lower(), "m:D")), origin("headrouter-acme"))
    assert status.message == "'hr' is headrouter's own method; write 'headrouter-acme:hr' for this one."
    assert registry.method("hr").name == "headrouter"
    assert registry.method("headrouter-acme:hr").target == "m:D"
    own = registry.register(methods(MethodSpec("hr", "mine:D")), override=True)
    assert own.message == "" and registry.method("hr").target == "mine:D"


def test_what_is_registered_too_late_is_refused():
    kept, registry = [], Registry()

    def keep(register):
        kept.append(register)

    registry.register(plugin(register_methods=keep))
    with pytest.raises(PluginError, match="register_methods is over; call `register` before it returns"):
        kept[0](MethodSpec("late", "m:C"))
    assert registry.entries() == []


def test_strangers_conflict_only_on_use_and_an_override_settles_it():
    registry = Registry()
    for name in ("one", "two"):
        registry.admit(methods(MethodSpec("x", "m:C"), MethodSpec(name, "m:C")), origin(f"headrouter-{name}"))
    assert registry.method("one").name == "one"
    with pytest.raises(PluginConflictError, match="headrouter-one:x, headrouter-two:x"):
        registry.method("x")
    mine = MethodSpec("x", "mine:C")
    registry.register(methods(mine), override=True)
    assert registry.method("x") is mine


def test_identification_asks_the_latest_first_and_survives_failures():
    registry = Registry()
    registry.admit(Everything(), origin())

    def fail(model_index, source):
        raise ZeroDivisionError("oops")

    def other_flux(register):
        register(BackboneSpec("flux", "other:C"))

    registry.register(plugin(identify_backbone=fail), name="failing")
    with pytest.warns(PluginWarning, match="'runtime:failing' failed to identify 'org/repo': ZeroDivisionError: oops"):
        found = registry.identify_backbone({"_class_name": "FluxPipeline"}, "org/repo")
    assert found is registry.backbone("flux")
    with pytest.warns(PluginWarning, match="oops"):
        assert registry.identify_backbone({"_class_name": "Other"}, "org/repo") is None

    later = plugin(identify_backbone=lambda source: "flux", register_backbones=other_flux)
    registry.admit(later, origin("headrouter-other"))
    own = registry.identify_backbone({"_class_name": "FluxPipeline"}, "org/repo")
    assert own is not None
    assert own.target == "other:C", "a plug-in that says 'flux' means its own"


@pytest.mark.filterwarnings("ignore::headrouter.errors.PluginWarning")
def test_commands_are_isolated():
    registry = Registry()

    def good(subcommands):
        subcommands.add_parser("good", help="fine").set_defaults(run=print)

    def half(subcommands):
        subcommands.add_parser("half", help="not fine")
        raise RuntimeError("oops")

    def thief(subcommands):
        subcommands.add_parser("edit", help="stolen").set_defaults(run=print)

    for function in (half, good, thief):
        registry.register(plugin(register_commands=function), name=function.__name__)
    parser = argparse.ArgumentParser(prog="p")
    subcommands = parser.add_subparsers()
    edit = subcommands.add_parser("edit", help="ours")
    registry.add_commands(subcommands)
    assert list(subcommands.choices) == ["edit", "good"]
    assert subcommands.choices["edit"] is edit
    assert "stolen" not in parser.format_help()
    assert "not fine" not in parser.format_help()
    assert "fine" in parser.format_help()


def test_the_default_registry_is_built_once_and_warns_once(site, plugin_code, monkeypatch):
    site.add("headrouter-bad", "import no_such_module")
    site.add("headrouter", plugin_code("core"), points={"core": ""})
    site.add("headrouter-thief", plugin_code("core"))
    monkeypatch.setattr(plugins, "_registry", None)
    with pytest.warns(PluginWarning) as caught:
        registry = plugins.registry()
    assert [str(warning.message) for warning in caught] == [
        "headrouter plug-in 'bad' of headrouter-bad 1.0 is broken: "
        "ModuleNotFoundError: No module named 'no_such_module'",
        "headrouter plug-in 'thief' of headrouter-thief: 'core' is headrouter's own backbone; "
        "write 'headrouter-thief:core' for this one.",
    ]
    assert plugins.registry() is registry
    plugins.register(Everything())
    assert registry.backbone("flux")
    with pytest.warns(PluginWarning):
        reloaded = plugins.reload()
    assert [entry.qualified_name for entry in reloaded.entries()] == ["headrouter:core", "headrouter-thief:core"]


def test_a_plugin_may_ask_for_the_registry_while_it_is_imported(site, plugin_code, monkeypatch):
    site.add("headrouter-curious", "from headrouter.plugins import registry\nregistry()\n" + plugin_code("curious"))
    monkeypatch.setattr(plugins, "_registry", None)
    monkeypatch.setenv("HEADROUTER_DISABLE_PLUGINS", "headrouter")
    assert [entry.qualified_name for entry in plugins.registry().entries()] == ["headrouter-curious:curious"]


def test_a_strict_failure_leaves_no_half_built_registry(site, monkeypatch):
    site.add("headrouter-bad", "import no_such_module")
    monkeypatch.setattr(plugins, "_registry", None)
    monkeypatch.setenv("HEADROUTER_STRICT_PLUGINS", "1")
    monkeypatch.setenv("HEADROUTER_DISABLE_PLUGINS", "headrouter")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            plugins.registry()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MethodSpec("Upper", "m:C"), "`name` must be"),
        (lambda: MethodSpec("a:b", "m:C"), "`name` must be"),
        (lambda: MethodSpec("a", "m:C", aliases=("-x",)), "`aliases` must be"),
        (lambda: MethodSpec("a", "module.Class"), "`target` must look like 'module:Class'"),
        (lambda: MethodSpec("a", "m:C", requires="word"), "`requires` must be a set"),
        (lambda: Model("a", "b", ""), "`source` of model 'a' is empty"),
        (lambda: Model("a", "b", "o/r", steps=4), "`steps` and `area` of model 'a' must both be positive"),
        (lambda: Preset("a", ("methode", "x"), 28, {}, "p"), "`component` must begin with"),
        (
            lambda: Preset("a", ("method", "x"), 0, {}, "p"),
            "`reference_steps` of preset 'a' must be a whole number from 1",
        ),
        (lambda: Preset("a", ("method", "x"), 28, {}, ""), "say where its values come from"),
    ],
)
def test_descriptions_are_checked_where_they_are_written(build, message):
    with pytest.raises(InvalidInputError, match=message):
        build()


def test_descriptions_are_values():
    spec = BackboneSpec("a", "m:C", provides={"x"}, default_model="dev")
    assert spec == pickle.loads(pickle.dumps(spec))
    assert hash(spec) == hash(dataclasses.replace(spec))
    assert isinstance(spec.provides, frozenset)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "b"


def test_what_cannot_be_imported_says_how_to_install_it():
    spec = MethodSpec("a", "no_such_module:C", install_hint="Run: pip install acme.")
    with pytest.raises(
        PluginError, match=r"method 'a' could not be imported .*no_such_module.* Run: pip install acme\."
    ):
        spec.load()
    with pytest.raises(PluginError, match="has no attribute 'Nothing'"):
        MethodSpec("a", "json:Nothing").load()
