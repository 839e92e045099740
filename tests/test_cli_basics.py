"""The shell: codes, streams, tables, and that asking for help is cheap."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import headrouter
from headrouter import cli, plugins
from headrouter.cli import main
from headrouter.cli.commands import COMMANDS
from headrouter.cli.table import table
from headrouter.errors import InvalidInputError
from headrouter.models.weights import find_weights, missing_weights
from headrouter.plugins import Registry
from headrouter.plugins.specifications import BackboneSpec, MethodSpec, Model, Preset, hookimpl

ROOT = Path(headrouter.__file__).parents[1]


class Example:
    """A plug-in with a bit of everything."""

    headrouter_api = 1

    @hookimpl
    def register_backbones(self, register):
        register(BackboneSpec("acme", "m:C", aliases=("acme-xl",), summary="A backbone.", default_model="dev"))

    @hookimpl
    def register_models(self, register):
        register(Model("dev", "acme", "acme/dev", licence="Acme Licence", gated=True))
        register(Model("open", "acme", "acme/open", licence="Apache-2.0"))
        register(Model("tiny", "acme-xl", "test_cli_basics:no_such_function"))

    @hookimpl
    def register_methods(self, register):
        register(MethodSpec("headrouter", "m:C", provides={"b", "a"}))

    @hookimpl
    def register_presets(self, register):
        register(Preset("mild", ("method", "headrouter"), 28, {"gamma": 0.1}, "table 3", "Little."))

    @hookimpl
    def register_commands(self, subcommands):
        def run(arguments):
            if arguments.what == "user":
                raise InvalidInputError("`what` is wrong (got 'user').")
            if arguments.what == "bug":
                raise ZeroDivisionError
            if arguments.what == "interrupt":
                raise KeyboardInterrupt
            if arguments.what == "pipe":
                raise BrokenPipeError
            print("done")
            return 7

        parser = subcommands.add_parser("example")
        parser.add_argument("what")
        parser.set_defaults(run=run)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    registry = Registry()
    registry.register(Example())
    monkeypatch.setattr(plugins, "_registry", registry)
    return registry


def shell(*arguments: str, code: str = "", **environ: str) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "headrouter.cli", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path, **environ},
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (["--help"], ("pydantic", "yaml", "packaging", "rich", "tqdm")),
        (["edit", "--help"], ("pydantic", "yaml", "packaging", "rich", "tqdm")),
        (["plugins", "--json"], ("pydantic", "yaml", "rich", "tqdm")),
        (["presets"], ("pydantic", "yaml", "tqdm")),
    ],
)
def test_help_imports_nothing_heavy(arguments, unneeded):
    """Nor what reads configurations, which take longer to import than all else that help needs."""
    code = f"""
import sys
from headrouter.cli import main
main({arguments!r})
unneeded = {{"torch", "diffusers", "transformers", "numpy", "scipy", "skimage", "PIL", "huggingface_hub", *{unneeded!r}}}
heavy = unneeded & set(sys.modules)
assert not heavy, heavy
"""
    finished = shell(code=code)
    assert finished.returncode == 0, finished.stderr


def test_headrouter_itself_imports_next_to_nothing():
    code = """
import sys
before = set(sys.modules)
import headrouter
unneeded = {"importlib.abc", "importlib.metadata", "argparse", "dataclasses", "inspect", "pathlib", "pluggy", "pydantic", "torch"}
found = unneeded & (set(sys.modules) - before)
assert not found, found
"""
    finished = shell(code=code)
    assert finished.returncode == 0, finished.stderr


def test_version_and_usage(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"headrouter {headrouter.__version__}\n"
    assert main([]) == 2
    assert "usage: headrouter" in capsys.readouterr().err
    assert main(["no-such-command"]) == 2
    assert main(["plugins", "--no-such-option"]) == 2


@pytest.mark.parametrize(("what", "code"), [("fine", 7), ("user", 2), ("interrupt", 130)])
def test_exit_codes(what, code, capsys):
    assert main(["example", what]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_user_error_is_a_sentence_and_a_traceback_only_on_request(capsys):
    main(["example", "user"])
    assert capsys.readouterr().err == "headrouter: `what` is wrong (got 'user').\n"
    for arguments in (["--debug", "example", "user"], ["example", "user", "--debug"]):
        assert main(arguments) == 2
        assert "Traceback" in capsys.readouterr().err


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        main(["example", "bug"])


def test_a_reader_that_goes_away_is_no_error():
    code = """
import subprocess, sys
command = [sys.executable, "-m", "headrouter.cli", "plugins", "--json"]
process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
process.stdout.close()
print(process.stderr.read(), end="")
sys.exit(process.wait())
"""
    finished = shell(code=code, HEADROUTER_DISABLE_PLUGINS="headrouter", PYTHONUNBUFFERED="")
    assert (finished.returncode, finished.stdout) == (141, "")


def test_warnings_are_one_line_each_on_stderr(tmp_path):
    info = tmp_path / "headrouter_bad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headrouter-bad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headrouter]\nbad = no_such_module\n")
    path = os.pathsep.join([str(ROOT), str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    finished = subprocess.run(
        [sys.executable, "-m", "headrouter.cli", "plugins"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip
    assert finished.returncode == 0
    warning = "warning: headrouter plug-in 'bad' of headrouter-bad 1.0 is broken: ModuleNotFoundError: "
    assert warning + "No module named 'no_such_module'" in finished.stderr.splitlines()
    assert "Traceback" not in finished.stderr
    assert any(line.split()[:4] == ["bad", "headrouter-bad", "1.0", "broken"] for line in finished.stdout.splitlines())


def test_plugins(capsys):
    assert main(["plugins"]) == 0
    out = capsys.readouterr().out
    assert ["Example", "runtime", "ok"] in [line.split() for line in out.splitlines()]
    assert ["backbone", "acme", "acme-xl", "runtime", "A", "backbone."] in [line.split() for line in out.splitlines()]
    assert main(["plugins", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["plugins"][0]["status"] == "ok"
    assert [row["qualified_name"] for row in document["components"]] == ["runtime:acme", "runtime:headrouter"]
    assert document["components"][1]["provides"] == ["a", "b"]


def test_presets(capsys):
    assert main(["presets"]) == 0
    assert "mild    method headrouter  gamma=0.1  28        table 3     Little." in capsys.readouterr().out
    assert main(["presets", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["component"] == {"kind": "method", "name": "headrouter"}
    assert (row["values"], row["reference_steps"], row["provenance"]) == ({"gamma": 0.1}, 28, "table 3")


def test_doctor(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert main(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["versions"]["headrouter"] == headrouter.__version__
    assert document["devices"][-1]["device"] == "cpu"
    assert document["devices"][-1]["memory_gib"] > 0
    states = {row["model"]: (row["weights"], row["licence"]) for row in document["models"]}
    assert states == {"dev": ("gated", "Acme Licence"), "open": ("absent", "Apache-2.0"), "tiny": ("broken", "")}
    assert "accept the licence at https://huggingface.co/acme/dev" in out


def test_doctor_needs_no_health(capsys, monkeypatch, tmp_path):
    """A half-removed package, one without a version, a torch that cannot be imported, a card that does not answer."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    for package, metadata in (("accelerate", None), ("diffusers", "Name: diffusers\n")):
        (tmp_path / f"{package}-9.dist-info").mkdir()
        if metadata is not None:
            (tmp_path / f"{package}-9.dist-info" / "METADATA").write_text(metadata)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: 1 / 0)
    assert main(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    for package in ("accelerate", "diffusers"):
        assert document["versions"][package].startswith(("unknown", "damaged: ")), "which of them depends on the Python"
    assert document["devices"][0]["name"] == "cannot be used: ZeroDivisionError: division by zero"
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["doctor"]) == 0
    assert "torch cannot be imported: ModuleNotFoundError" in capsys.readouterr().out


def pipeline_folder(path, *files):
    """A pipeline folder with a transformer of two shards, a scheduler and a text encoder that is left out."""
    index = {"_class_name": "P", "transformer": ["d", "T"], "scheduler": ["d", "S"], "text_encoder": [None, None]}
    contents = {
        "model_index.json": index,
        "scheduler/scheduler_config.json": {},
        "transformer/config.json": {},
        "transformer/model.safetensors.index.json": {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}},
        "transformer/1.safetensors": {},
        "transformer/2.safetensors": {},
    }
    for name in files or contents:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(json.dumps(contents[name]))
    return path


def test_weights_are_judged_by_every_file_they_promise(tmp_path):
    whole = pipeline_folder(tmp_path / "whole")
    assert missing_weights(whole) == []
    assert (find_weights(str(whole)).state, find_weights(str(whole)).usable) == ("folder", True)
    (whole / "transformer" / "2.safetensors").unlink()
    assert missing_weights(whole) == ["transformer/2.safetensors"]
    assert (find_weights(str(whole)).state, find_weights(str(whole)).usable) == ("incomplete", False)
    bare = pipeline_folder(tmp_path / "bare", "model_index.json", "transformer/config.json")
    assert missing_weights(bare) == ["transformer/*.safetensors", "scheduler/"]
    (tmp_path / "empty").mkdir()
    assert find_weights(str(tmp_path / "empty")).state == "incomplete"


def test_weights_in_the_hub_cache_are_found(tmp_path, monkeypatch):
    repository = tmp_path / "models--acme--dev"
    pipeline_folder(repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = find_weights("acme/dev", gated=True)
    assert (found.state, found.remark) == ("cached", str(repository / "snapshots" / "abc"))
    assert find_weights("acme/other").state == "absent"
    assert find_weights("not a hub id at all").state == "absent"


def test_bundled_weights_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "bundled", lambda: pipeline_folder(tmp_path), raising=False)
    monkeypatch.setitem(sys.modules, "bundle_for_this_test", sys.modules[__name__])
    assert find_weights("bundle_for_this_test:bundled").state == "bundled"


def test_tables_fit(capsys):
    rows = [["a", "word " * 30], ["bb", "unbreakable" * 10]]
    for width in (20, 40, 79):
        assert max(map(len, table(["x", "text"], rows, width).splitlines())) <= width
    assert len(table(["x", "text"], rows).splitlines()) == 4, "one line for each row when there is no terminal"
    assert table(["x"], []) == "x\n-"
    assert table(["x", "y"], [["犬", "[b]a[/b] :smile:"]]) == "x   y\n--- ----------------\n犬  [b]a[/b] :smile:"
    assert "object-insertion" in table(["x", "text"], [["object-insertion", "a word " * 9]], 40), "names stay whole"


def test_every_command_describes_itself():
    parser = cli.build_parser()
    (subcommands,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        described = subcommands.choices[name]
        inner = [action for action in described._actions if isinstance(action, argparse._SubParsersAction)]
        if hasattr(command, "run"):
            assert described.get_default("run") is command.run
        else:  # a family of commands
            assert inner and all(callable(each.get_default("run")) for each in inner[0].choices.values())
