"""Private API of PyTorch, diffusers, transformers and gradio is used in three modules, which have a test for each use."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import headrouter_diffusers.quiet  # noqa: F401
import pytest
import torch
from diffusers import DiffusionPipeline, ModelMixin
from torch import Tensor
from torch.nn import Module

ROOT = Path(__file__).parents[1]
FOLDERS = ("headrouter", "adapters", "inversions", "plugins", "benchmarks")
COMPAT = {"headrouter/compat.py", "adapters/headrouter_diffusers/compat.py", "plugins/headrouter_app/compat.py"}
FILES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
}
OURS = ("headrouter", "benchmarks", "__future__")
PYTHONS = {"_SubParsersAction", "_choices_actions", "_prog_prefix", "_parser_class", "_actions", "_getframe"}
"""Of argparse, which has no other way to read a parser, and of sys."""
BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}


def is_private(name: str) -> bool:
    return name.startswith("_") and name != "_" and not (name.startswith("__") and name.endswith("__"))


def defined(tree: ast.Module) -> Iterator[str]:
    """Names of functions, classes, annotated fields, and attributes that a file's own classes assign."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name


def private_uses(tree: ast.Module, own: set[str]) -> Iterator[tuple[int, str]]:
    """Line and name of each private name of somebody else that is imported, read, or looked up by a string."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if not module.startswith(OURS):
                parts = [*module.split("."), *(alias.name for alias in names)]
                yield from ((node.lineno, name) for name in parts if is_private(name) and name not in PYTHONS)
            case ast.Import(names=names):
                parts = [part for alias in names for part in alias.name.split(".")]
                yield from ((node.lineno, name) for name in parts if is_private(name))
            case ast.Attribute(attr=name) if is_private(name) and name not in own | PYTHONS:
                yield node.lineno, name
            case ast.Call(func=ast.Name(id=function), args=[_, ast.Constant(value=str(name)), *_]) if (
                function in BY_NAME
            ):
                if is_private(name) and name not in own:
                    yield node.lineno, name
            case ast.Compare(left=ast.Constant(value=str(name)), comparators=[ast.Attribute() | ast.Call()]):
                if is_private(name) and name not in own:
                    yield node.lineno, name


ELSEWHERE = {name for tree in FILES.values() for name in defined(tree)}
THEIRS = {name for thing in (torch, Tensor, Module(), DiffusionPipeline, ModelMixin) for name in dir(thing)} - {
    "_parameters"  # where adapters of before kept theirs
}


def uses_of(path: str) -> list[str]:
    """Those of a file; what it defines itself is its own, and what another file defines unless a library has it too."""
    own = {*defined(FILES[path]), *(ELSEWHERE - THEIRS)}
    return [f"{path}:{line} {name}" for line, name in private_uses(FILES[path], own)]


def test_no_other_file_names_a_private_thing_of_a_library() -> None:
    found = [use for path in FILES.keys() - COMPAT for use in uses_of(path)]
    assert not found, f"move to {' or '.join(sorted(COMPAT))}, with a test: {found}"


@pytest.mark.parametrize("path", sorted(COMPAT))
def test_each_function_there_says_what_would_take_its_place(path: str) -> None:
    functions = [node for node in FILES[path].body if isinstance(node, ast.FunctionDef)]
    says = [ast.get_docstring(function) or "" for function in functions]
    assert functions and all(re.search(r"Instead|[Aa]s :func:|[Ss]ee :func:", text) for text in says)
    assert uses_of(path), "what is found elsewhere is found here"


@pytest.mark.parametrize(
    "code",
    [
        "from torch.overrides import _get_current_function_mode_stack",
        "from torch._dynamo import OptimizedModule",
        "import torch._dynamo.utils",
        "torch._C._nn.scaled_dot_product_attention",
        "pipeline._execution_device",
        "getattr(model, '_parallel_config', None)",
        "'_orig_mod' in module.children_by_name()",
    ],
)
def test_it_is_found(code: str) -> None:
    assert list(private_uses(ast.parse(code), set()))
