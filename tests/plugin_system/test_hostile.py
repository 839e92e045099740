"""Plug-ins that misbehave, as real distributions on the path: each is one row that says why, and every command goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import hostile
import pytest

import headrouter
from headrouter import plugins
from headrouter.cli import main
from headrouter.errors import PluginConflictError, PluginError, PluginWarning

COMMANDS = (
    "--help",
    "plugins",
    "plugins --json",
    "presets",
    "presets --json",
    "schema",
    "doctor --json",
    "edit --help",
)
AT_LEAST = 60


@pytest.fixture
def command_line(monkeypatch, capsys, tmp_path):
    """Run every command with a registry, and hold that each succeeds."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def run(registry, *commands):
        """What the last one printed."""
        monkeypatch.setattr(plugins, "_registry", registry)
        for command in commands or COMMANDS:
            code = main(command.split())
            out, err = capsys.readouterr()
            assert (code, "Traceback" in err) == (0, False), f"{command}: {err}"
            assert out and "\x1b" not in out + err
        return out, err

    return run


def fill(site, codes, plugin_code):
    """A distribution for each, and a sound one before and after."""
    site.add("headrouter-aaa", plugin_code("aaa"))
    for number, code in enumerate(codes):
        site.add(f"headrouter-bad{number}", code)
    site.add("headrouter-zzz", plugin_code("zzz"))


def refused(site, codes):
    """The registry with the distributions of the site, after holding that each of the bad ones is one broken row."""
    registry = site.load()
    rows = {row.name: row for row in registry.statuses}
    for number, code in enumerate(codes):
        row = rows.pop(f"bad{number}")
        assert (row.status, row.registers) == ("broken", ()), f"{code}\n{row}"
        assert row.message and row.message.isprintable() and len(row.message) < 400, code
    assert [row.status for row in rows.values()] == ["ok", "ok"]
    assert [entry.qualified_name for entry in registry.entries()] == ["headrouter-aaa:aaa", "headrouter-zzz:zzz"]
    return registry


KINDS = {
    "raise at import": hostile.raising_at_import,
    "raise at registration": hostile.raising_at_registration,
    "claim one name twice": hostile.naming_twice,
    "nonsense in fields": hostile.nonsense_in_fields,
    "nonsense in hooks": hostile.nonsense_in_hooks,
}


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_each_is_a_broken_row_and_no_command_dies(kind, site, plugin_code, command_line):
    codes = KINDS[kind]()
    assert len(codes) >= AT_LEAST
    fill(site, codes, plugin_code)
    command_line(refused(site, codes))


@pytest.mark.filterwarnings("ignore::headrouter.errors.PluginWarning")
def test_bad_commands_are_warnings_and_the_others_go_on(site, plugin_code, command_line):
    codes = hostile.bad_commands()
    assert len(codes) >= AT_LEAST
    fill(site, codes, plugin_code)
    for number, code in enumerate(hostile.harmless_commands()):
        site.add(f"headrouter-fine{number}", code)
    registry = site.load()
    assert {row.status for row in registry.statuses} == {"ok"}
    _, err = command_line(registry, "--help")
    assert err.count("added no command: ") == len(codes)
    command_line(registry, "fine-0", "fine-1", "fine-2", "fine-3", "fine-4 y", "fine-5 y", "fine-5")


@pytest.mark.parametrize("source", ["'a' * 5000", "'a/' * 5000", "'\\0'"])
def test_a_source_that_no_path_can_be(site, command_line, source):
    site.add(
        "headrouter-long", hostile.HEAD + hostile.hook("register_models", f"register(Model('long', 'sd3', {source}))")
    )
    command_line(site.load(), "doctor --json")


def test_bad_answers_are_warnings_and_the_next_one_is_asked(site, plugin_code):
    answer = hostile.hook("identify_backbone", "return 'aaa'", argument="source")
    site.add("headrouter-aaa", plugin_code("aaa") + answer)
    codes = hostile.bad_answers()
    for number, code in enumerate(codes):
        site.add(f"headrouter-bad{number}", code)
    registry = site.load()
    with pytest.warns(PluginWarning) as caught:
        assert registry.identify_backbone({}, "org/repo") is registry.backbone("aaa")
    assert len(caught) == len(codes)
    assert all("failed to identify 'org/repo': " in str(warning.message) for warning in caught)


SPELLINGS = [("acme", "acme"), ("acme", "ac-me"), ("ac-me", "ac_me"), ("a_b-c", "a-b_c")]


@pytest.mark.parametrize("builtin", [False, True], ids=["strangers", "headrouters own"])
@pytest.mark.parametrize(("first", "second"), SPELLINGS)
def test_two_distributions_may_claim_one_name(site, command_line, builtin, first, second):
    """Every sort at once: both stay reachable in full, a word of headrouter's own stays its own, and no command dies."""
    ours = "headrouter" if builtin else "headrouter-one"
    for distribution, name in ((ours, first), ("headrouter-two", second)):
        code = hostile.HEAD + "".join(
            hostile.hook(hook, f"register({sound % name})") for hook, sound in hostile.GOOD.items()
        )
        site.add(distribution, code)
    registry = site.load()
    assert [row.status for row in registry.statuses] == ["ok", "ok"]
    same = first.replace("_", "-") == second.replace("_", "-")
    for find in (registry.backbone, registry.inversion, registry.method):
        assert find(f"{ours}:{first}").name == first and find(f"headrouter-two:{second}").name == second
        if same and not builtin:
            with pytest.raises(PluginConflictError, match="is provided by 2 plug-ins"):
                find(second)
        else:
            assert find(second).name == (first if same else second)
    assert registry.statuses[1].message.count("is headrouter's own") == (len(hostile.GOOD) if same and builtin else 0)
    command_line(registry)


def damage(site, number, file, content):
    """Install a sound distribution and spoil one file of its metadata."""
    site.add(f"headrouter-bad{number}", hostile.HEAD)
    path = site.path / f"headrouter_bad{number}-1.0.dist-info" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)


def test_damaged_metadata_is_a_broken_row(site, plugin_code, command_line):
    site.add("headrouter-zzz", plugin_code("zzz"))
    for number, (file, content) in enumerate(hostile.DAMAGED):
        damage(site, number, file, content)
    registry = site.load()
    status = {row.name: row for row in registry.statuses}
    assert status.pop("zzz").status == "ok"
    broken = [row for row in registry.statuses if row.status == "broken"]
    assert len(broken) == len(hostile.DAMAGED), [row for row in registry.statuses if row.status != "broken"]
    assert all(row.message and row.sentence.isprintable() for row in broken)
    nameless = [row for row in broken if row.distribution == "unknown"]
    assert nameless and all(
        "as if half removed; install the plug-in again, or delete" in row.message for row in nameless
    )
    command_line(registry)


@pytest.mark.parametrize("requirement", hostile.STRANGE_REQUIREMENTS)
def test_what_else_it_requires_is_not_judged(site, plugin_code, requirement):
    site.add("headrouter-acme", plugin_code("acme"), requires=[requirement, "headrouter>=0.0.1"])
    assert [row.status for row in site.load().statuses] == ["ok"]


@pytest.mark.parametrize("requirement", hostile.UNREADABLE_REQUIREMENTS)
def test_a_requirement_of_headrouter_that_cannot_be_judged_is_a_broken_row(site, plugin_code, requirement):
    site.add("headrouter-acme", plugin_code("acme"), requires=[requirement])
    site.add("headrouter-zzz", plugin_code("zzz"))
    assert [row.status for row in site.load().statuses] == ["broken", "ok"]


def test_the_first_distribution_of_a_name_on_the_path_counts(site, plugin_code, tmp_path, monkeypatch):
    site.add("headrouter-acme", plugin_code("acme"), version="1.0")
    earlier = type(site)(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    earlier.add("headrouter-acme", plugin_code("acme-xl"), version="2.0")
    assert site.load().statuses == []
    assert [row.version for row in earlier.load().statuses] == ["2.0"]
    (tmp_path / "headrouter_acme-2.0.dist-info" / "entry_points.txt").unlink()
    assert site.load().statuses == earlier.load().statuses == [], "the first one is no plug-in, and hides the other"


def test_the_interrupt_of_the_user_goes_through(site):
    site.add("headrouter-slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        site.load()


def test_strict_raises_whatever_is_wrong(site):
    damage(site, 0, "METADATA", None)
    with pytest.raises(PluginError, match="half removed"):
        site.load(HEADROUTER_STRICT_PLUGINS="1")
    assert site.load(HEADROUTER_DISABLE_PLUGINS="bad0").statuses[0].status == "disabled"


@pytest.mark.parametrize("command", ["--help", "plugins --json"])
def test_all_of_them_at_once_in_a_process_of_its_own(site, plugin_code, command):
    makers = (*KINDS.values(), hostile.bad_commands, hostile.bad_answers)
    fill(site, [code for make in makers for code in make()[::7]], plugin_code)
    for number, (file, content) in enumerate(hostile.DAMAGED):
        if file == "METADATA":  # pydantic does not survive entry points that cannot be parsed
            damage(site, 5000 + number, file, content)
    root = Path(headrouter.__file__).parents[1]
    path = os.pathsep.join([str(root), str(site.path), *filter(None, [os.environ.get("PYTHONPATH")])])
    finished = subprocess.run(
        [sys.executable, "-m", "headrouter.cli", *command.split()],
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip
    assert (finished.returncode, "Traceback" in finished.stderr) == (0, False), finished.stderr
    assert all(line.startswith("warning: ") for line in finished.stderr.splitlines())
    if command == "plugins --json":
        rows = json.loads(finished.stdout)["plugins"]
        assert {row["status"] for row in rows if row["distribution"] == "headrouter"} == {"ok"}
