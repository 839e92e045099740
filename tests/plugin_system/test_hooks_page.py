"""docs/plugins/hooks.md describes exactly the hooks there are."""

import ast
import inspect
import re
from pathlib import Path

from headrouter import plugins
from headrouter.cli import main
from headrouter.config.configuration import validate
from headrouter.methods.head_router.method import HeadRouter
from headrouter.plugins import Registry, hookspecs
from headrouter.plugins.specifications import (
    DatasetSpec,
    EditorSpec,
    ExecutorSpec,
    InversionSpec,
    MaskSpec,
    MethodSpec,
    MetricSpec,
    Model,
    OperatorSpec,
    Preset,
)

PAGE = Path(__file__).parents[2] / "docs" / "plugins" / "hooks.md"


def signatures() -> dict[str, str]:
    tree = ast.parse(inspect.getsource(hookspecs))
    return {
        node.name: f"def {node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


def test_every_hook_is_described_with_its_signature():
    text = PAGE.read_text(encoding="utf-8")
    documented = dict(re.findall(r"^## (\w+)\n\n```python\n(.*)\n```$", text, flags=re.MULTILINE))
    assert documented == signatures()


def test_every_hook_has_an_example():
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    shown = {name for name in signatures() for text in sections if f"@hookimpl\ndef {name}(" in text}
    assert shown == signatures().keys()


def test_the_examples_on_the_page_are_a_plugin(monkeypatch, capsys):
    """The first is whole; each of the others is one more hook of it."""
    first, *others = re.findall(
        r"```python\n((?:# headrouter_acme|@hookimpl).*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    module = type(inspect)("headrouter_acme")
    exec(first, module.__dict__)
    specifications = (
        InversionSpec, OperatorSpec, MethodSpec, MaskSpec, Model, Preset, DatasetSpec, MetricSpec, EditorSpec,
        ExecutorSpec,
    )  # fmt: skip
    module.__dict__.update({kind.__name__: kind for kind in specifications})
    for other in others:
        exec(other, module.__dict__)
    registry = Registry()
    status = registry.register(module)
    assert registry.backbone("acme-xl").summary == "Acme XL, 24 joint blocks."
    assert [model.name for model in registry.models("acme")] == ["xl", "tiny"]
    preset = registry.presets("method")[0]
    assert registry.inversion("heun").target == "headrouter_acme.heun:Heun"
    assert registry.method("louder").requires == {"joint-attention"}
    assert registry.entry("mask", "acme-centre").item.target == "headrouter_acme.centre:CentreMask"
    assert status.registers[7:] == (
        "preset acme-colour",
        "dataset acme-photos",
        "metric sharpness-1",
        "editor acme-instruct",
        "executor acme-queue",
        "identify_backbone",
        "register_commands",
    )
    assert validate(HeadRouter, preset.values).gamma == 0.3
    assert registry.identify_backbone({"_class_name": "AcmePipeline"}, "x") is registry.backbone("acme")
    monkeypatch.setattr(plugins, "_registry", registry)
    assert main(["acme", "xl"]) == 0
    assert capsys.readouterr().out == "xl: 24 joint blocks\n"
