"""Write the reference of public names, and find those that it lacks or that lack a docstring."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
ROOMS: Final = ("", "adapters", "inversions", "plugins")
Named = ast.ClassDef | ast.FunctionDef
REFERENCE: Final = {
    "editing": (
        "Editing",
        "Edit a picture, keep the result, run it again.",
        [
            "headrouter.editing.editor.Editor",
            "headrouter.editing.result.Result",
            "headrouter.editing.record.Record",
            "headrouter.editing.replay.replay",
            "headrouter.editing.inverted_latents.InvertedLatents",
            "headrouter.editing.sheet.edit_sheet",
            "headrouter.sampling.cost.Cost",
            "headrouter.errors",
        ],
    ),
    "backbones": (
        "Backbones",
        "Bring a model family: the interface, and the base for diffusers pipelines.",
        [
            "headrouter.models.backbone",
            "headrouter.prompts.prompt",
            "headrouter_diffusers.pipeline.hooks.PipelineHooks",
            "headrouter_diffusers.pipeline.backbone.DiffusersBackbone",
            "headrouter_diffusers.parameters.DiffusersParameters",
        ],
    ),
    "inversions": (
        "Inversions",
        "Bring an inversion: how a picture becomes noise, and noise a picture.",
        ["headrouter.sampling.inversion", "headrouter.sampling.directions"],
    ),
    "methods": (
        "Methods and attention",
        "Bring a method that steers attention.",
        ["headrouter.methods.method", "headrouter.attention.joint_attention", "headrouter.attention.step_info"],
    ),
    "masks": ("Masks", "Bring a mask: where an edit may act.", ["headrouter.masks.mask", "headrouter.masks.part"]),
    "operators": (
        "Velocity operators",
        "Bring a change of the velocity between model and inversion.",
        ["headrouter.sampling.velocity_operator"],
    ),
    "experiments": (
        "Data sets, metrics and executors",
        "Bring the parts of an experiment.",
        ["headrouter.experiments.dataset", "headrouter.experiments.metric", "headrouter.experiments.executor"],
    ),
    "plugins": (
        "Plug-ins",
        "Register parts, and take part in a run of the program.",
        ["headrouter.plugins.hookspecs", "headrouter.plugins.specifications", "headrouter.config.configuration"],
    ),
    "testing": (
        "Conformance kit",
        "Test a part with the checks that the built-in parts pass.",
        ["headrouter.testing.conformance", "headrouter.testing.subjects"],
    ),
}
"""Pages by file name: title, sentence, and the modules, classes and functions that it documents."""


def pages() -> dict[str, str]:
    """Return the Markdown of each page by its path; mkdocstrings fills it from the docstrings."""
    written = {
        f"reference/{file}.md": f"# {title}\n\n{sentence}\n\n" + "".join(f"::: {name}\n\n" for name in names)
        for file, (title, sentence, names) in REFERENCE.items()
    }
    table = "".join(f"- [{title}]({file}.md): {sentence}\n" for file, (title, sentence, _) in REFERENCE.items())
    written["reference/index.md"] = (
        "# Reference\n\nGenerated from the code at each build of these pages.\n\n"
        "- [Commands](commands.md): the options of every command.\n"
        f"- [Parameters](parameters.md): the parameters of every part that is installed.\n{table}"
    )
    return written


def missing() -> Iterator[str]:
    """Yield a sentence for each public name that no page documents, or that has no docstring."""
    named = [name for _, _, names in REFERENCE.values() for name in names]
    for name in _exported(_module("headrouter")[0]):
        if not name.startswith("__") and not any(name in (each.rpartition(".")[2], *_members(each)) for each in named):
            yield f"`headrouter.{name}` is public, and no page of the reference documents it (docs/_pages/public_names.py)."
    for name in named:
        yield from _undocumented(name)


def _undocumented(name: str) -> Iterator[str]:
    path, inside = _module(name)
    body = ast.parse(path.read_text(encoding="utf-8"))
    for node in _public(body) if not inside else [_member(body, inside)]:
        for place, each in [(node.name, node), *((f"{node.name}.{own.name}", own) for own in _public(node))]:
            if not ast.get_docstring(each) and not any(
                ast.unparse(mark).endswith(".setter") for mark in each.decorator_list
            ):
                yield f"`{place}` is public and has no docstring ({path.relative_to(ROOT)}:{each.lineno})."


def _module(name: str) -> tuple[Path, str]:
    """Return the file of the module that a dotted name begins with, and the rest of the name."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        for room in ROOMS:
            folder = ROOT.joinpath(room, *parts[:count])
            for path in (folder.with_suffix(".py"), folder / "__init__.py"):
                if path.is_file():
                    return path, ".".join(parts[count:])
    raise LookupError(f"no module of this repository begins the name {name!r}")


def _exported(path: Path) -> list[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _members(name: str) -> list[str]:
    path, inside = _module(name)
    return [] if inside else [node.name for node in _public(ast.parse(path.read_text(encoding="utf-8")))]


def _member(body: ast.Module, name: str) -> Named:
    for node in _public(body):
        if node.name == name:
            return node
    raise LookupError(f"no public class or function {name!r} where the reference looks for it")


def _public(body: ast.Module | Named) -> list[Named]:
    if isinstance(body, ast.FunctionDef):
        return []
    return [node for node in body.body if isinstance(node, Named) and not node.name.startswith("_")]
