"""Whatever makes numbers from nothing says their type and place, so that no default of the process decides."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKERS = {"zeros", "ones", "empty", "full", "arange", "linspace", "logspace", "randn", "rand", "eye"}


def unsaid(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MAKERS:
            given = {keyword.arg for keyword in node.keywords}
            if ast.unparse(node.func.value) == "torch" and not {"dtype", "device"} <= given:
                yield node.lineno, ast.unparse(node)


def test_what_is_left_unsaid_is_found() -> None:
    assert [
        line for line, _ in unsaid(ast.parse("torch.zeros(1)\ntorch.ones(1, dtype=d, device=e)\nnumpy.zeros(1)"))
    ] == [1]


@pytest.mark.parametrize("folder", ["headrouter", "adapters", "inversions", "plugins"])
def test_type_and_place_are_said(folder: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {call}"
        for file in (ROOT / folder).rglob("*.py")
        for line, call in unsaid(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert not found, "\n".join(found)
