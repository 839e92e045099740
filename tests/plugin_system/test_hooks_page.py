"""docs/plugins/hooks.md describes exactly the hooks there are."""

import ast
import inspect
import re
from pathlib import Path

from headrouter import hookspecs

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


def test_the_example_on_the_page_is_a_plugin():
    from headrouter.plugins import Registry

    code = re.search(r"```python\n(# headrouter_acme.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert code is not None
    module = type(inspect)("headrouter_acme")
    exec(code.group(1), module.__dict__)
    registry = Registry()
    registry.register(module)
    assert registry.backbone("acme-xl").summary == "Acme XL, 24 joint blocks."
