"""Loading: each failure is one row, and nobody else notices."""

import pytest

from headrouter.errors import PluginError
from headrouter.plugins import discovery
from headrouter.plugins.store import Registry

EXPLODES_WHEN_CALLED = """
from headrouter.plugins.specifications import BackboneSpec, hookimpl, MethodSpec
headrouter_api = 1

@hookimpl
def register_backbones(register):
    register(BackboneSpec("half", "json:JSONDecoder"))

@hookimpl
def register_methods(register):
    register(MethodSpec("half", "json:JSONDecoder"))
    raise RuntimeError("no luck today")
"""


def rows(registry):
    return {row.name: row for row in registry.statuses}


def names(registry):
    return [entry.qualified_name for entry in registry.entries()]


def test_a_good_plugin_is_loaded_with_everything_it_brings(site, plugin_code):
    module = site.add("headrouter-acme", plugin_code("acme", "acme-xl"), version="2.5")
    registry = site.load()
    row = rows(registry)["acme"]
    assert (row.distribution, row.version, row.module, row.status) == ("headrouter-acme", "2.5", module, "ok")
    assert row.registers == ("backbone acme", "backbone acme-xl")
    assert registry.backbone("acme").load().__name__ == "BackboneParameters"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def (", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("", "`headrouter_api` is missing, this headrouter speaks 1"),
        ("headrouter_api = 0", "`headrouter_api` is 0, this headrouter speaks 1"),
        ("headrouter_api = True", "`headrouter_api` is True, this headrouter speaks 1"),
        (EXPLODES_WHEN_CALLED, "RuntimeError: no luck today"),
        (
            "from headrouter.plugins.specifications import hookimpl\nheadrouter_api = 1\n"
            "@hookimpl\ndef register_backbone(register): ...",
            "there is no hook 'register_backbone'; did you mean 'register_backbones'?",
        ),
        (
            "from headrouter.plugins.specifications import hookimpl\nheadrouter_api = 1\n"
            "@hookimpl\ndef register_backbones(register, colour): ...",
            "hookimpl definition: register_backbones(register, colour) Argument(s) {'colour'} are declared",
        ),
        (
            "from headrouter.plugins.specifications import hookimpl\nheadrouter_api = 1\n"
            "@hookimpl(wrapper=True)\ndef register_backbones(register):\n    yield",
            "cannot be wrapped",
        ),
        (
            "from headrouter.plugins.specifications import hookimpl, MethodSpec\nheadrouter_api = 1\n"
            "@hookimpl\ndef register_backbones(register):\n    register(MethodSpec('a', 'b:C'))",
            "register_backbones takes BackboneSpec",
        ),
        (
            "from headrouter.plugins.specifications import hookimpl, MethodSpec\nheadrouter_api = 1\n"
            "@hookimpl\ndef register_methods(register):\n    register(MethodSpec('A b', 'b:C'))",
            "`name` must be lower-case letters",
        ),
        (
            "from headrouter.plugins.specifications import hookimpl, MethodSpec\nheadrouter_api = 1\n"
            "@hookimpl\ndef register_methods(register):\n"
            "    register(MethodSpec('a_b', 'b:C'))\n    register(MethodSpec('a-b', 'd:E'))",
            "'method a-b' is registered twice by headrouter-bad",
        ),
    ],
)
def test_a_broken_plugin_is_one_row_and_leaves_nothing_behind(site, plugin_code, code, message):
    site.add("headrouter-bad", code)
    site.add("headrouter-good", plugin_code("good"))
    registry = site.load()
    assert rows(registry)["bad"].status == "broken"
    assert message in rows(registry)["bad"].message
    assert rows(registry)["bad"].registers == ()
    assert names(registry) == ["headrouter-good:good"]
    assert list(registry._manager.get_plugins()) == [registry._manager.get_plugin("headrouter-good:good")]


def test_strict_raises_what_the_plugin_raised(site):
    site.add("headrouter-bad", EXPLODES_WHEN_CALLED)
    with pytest.raises(RuntimeError, match="no luck today"):
        site.load(HEADROUTER_STRICT_PLUGINS="1")


@pytest.mark.parametrize(
    ("requirement", "status"),
    [
        ("headrouter<0.1", "incompatible"),
        ("HeadRouter>=99", "incompatible"),
        ("headrouter>=99; extra == 'xl'", "ok"),
        ("headrouter>=99; python_version < '3'", "ok"),
        ("headrouter", "ok"),
        ("headrouter>=0.0.1", "ok"),
        ("headrouter-other>=99", "ok"),
        ("not a ( requirement", "ok"),
    ],
)
def test_the_required_version_is_judged_before_any_import(site, plugin_code, requirement, status):
    code = "raise AssertionError('imported')" if status == "incompatible" else plugin_code("acme")
    site.add("headrouter-acme", code, requires=["numpy", requirement])
    row = rows(site.load(HEADROUTER_STRICT_PLUGINS="1"))["acme"]
    assert row.status == status
    if status == "incompatible":
        assert "it requires headrouter" in row.message
        assert "this is headrouter 0." in row.message


@pytest.mark.parametrize(
    ("environ", "loaded"),
    [
        ({}, ["core", "extra", "one", "two"]),
        ({"HEADROUTER_PLUGINS": ""}, ["core", "extra"]),
        ({"HEADROUTER_PLUGINS": "one"}, ["core", "extra", "one"]),
        ({"HEADROUTER_PLUGINS": "headrouter_two, nobody"}, ["core", "extra", "two"]),
        ({"HEADROUTER_DISABLE_PLUGINS": "headrouter-one,EXTRA"}, ["core", "two"]),
        ({"HEADROUTER_DISABLE_PLUGINS": "one", "HEADROUTER_PLUGINS": "one,two"}, ["core", "extra", "two"]),
    ],
)
def test_environment_chooses(site, plugin_code, environ, loaded):
    site.add("headrouter-two", plugin_code("two"))
    site.add("headrouter-one", plugin_code("one"))
    module = site.add("headrouter", plugin_code("core"), points={"core": ""})
    (site.path / f"{module}_extra.py").write_text("headrouter_api = 1")
    (next(site.path.glob("headrouter-*.dist-info")) / "entry_points.txt").write_text(
        f"[headrouter]\nextra = {module}_extra\ncore = {module}\n"
    )
    registry = site.load(**environ)
    assert [row.name for row in registry.statuses] == ["core", "extra", "one", "two"]
    assert [row.name for row in registry.statuses if row.status == "ok"] == loaded
    assert all(row.message.startswith("HEADROUTER_") for row in registry.statuses if row.status == "disabled")


def test_headrouters_own_are_loaded_first(site, plugin_code):
    for distribution in ("headrouter-b", "acme", "headrouter"):
        site.add(distribution, plugin_code("x"))
    assert [row.distribution for row in site.load().statuses] == ["headrouter", "acme", "headrouter-b"]


@pytest.mark.parametrize(("version", "status"), [("0.2.0.dev3", "ok"), ("0.3", "incompatible")])
def test_a_development_version_counts_as_a_version(site, plugin_code, monkeypatch, version, status):
    monkeypatch.setattr("headrouter.plugins.discovery.__version__", version)
    site.add("headrouter-acme", plugin_code("acme"), requires=["headrouter>=0.1,<0.3"])
    assert site.load().statuses[0].status == status


def test_metadata_are_parsed_once_for_all_entry_points(site, plugin_code, monkeypatch):
    parsed: list[str] = []
    monkeypatch.setattr(discovery, "_incompatible", lambda found: parsed.append(found.name) or "")
    site.add("headrouter-acme", plugin_code("acme"), points=dict.fromkeys("abc", ""))
    assert len(site.load().statuses) == 3
    assert parsed == ["headrouter-acme"]


def test_an_entry_point_must_name_a_module(site, plugin_code):
    site.add("headrouter-acme", plugin_code("acme"), points={"acme": "json:JSONDecoder"})
    assert "must name a module" in rows(site.load())["acme"].message


def test_a_module_named_by_two_entry_points_is_taken_once(site, plugin_code):
    site.add("headrouter-acme", plugin_code("acme"), points={"a": "", "b": ""})
    registry = site.load()
    assert [row.status for row in registry.statuses] == ["ok", "broken"]
    assert names(registry) == ["headrouter-acme:acme"]


def test_what_is_missing_is_mentioned_when_a_name_is_unknown(site, plugin_code):
    site.add("headrouter-bad", "import no_such_module")
    site.add("headrouter-good", plugin_code("sd3.5", aliases=("sd35",)))
    with pytest.raises(LookupError) as caught:
        site.load().backbone("sd3")
    assert str(caught.value) == (
        "unknown backbone 'sd3'. Did you mean 'sd35' or 'sd3.5'? Known: sd3.5. "
        "(plug-in 'bad' of headrouter-bad 1.0 is broken: ModuleNotFoundError: No module named 'no_such_module')"
    )


def test_hook_calls_can_be_traced(site, plugin_code, monkeypatch, capsys):
    monkeypatch.setenv("HEADROUTER_TRACE_PLUGINS", "1")
    site.add("headrouter-acme", plugin_code("acme"))
    site.load()
    assert capsys.readouterr().err == "headrouter: headrouter-acme:acme register_backbones(register)\n"


def test_the_same_plugin_name_twice_at_run_time_is_refused(plugin_code):
    registry, plugin = Registry(), type("Plugin", (), {"headrouter_api": 1})
    registry.register(plugin(), name="mine")
    with pytest.raises(PluginError, match="registered already"):
        registry.register(plugin(), name="mine")
    assert len(registry.statuses) == 1
