"""Run the nodes in ComfyUI itself: its node API, its validation of graphs and its executor, of a checkout of any version.

    python tests/comfyui_nodes/itself.py path/to/ComfyUI

Packages that ComfyUI imports and that are not installed here are stood in for until it is imported; no node of it is needed.
"""

import asyncio
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from headrouter_shapes.world.render import render
from headrouter_shapes.world.scene import Scene

GRAPH = Path(__file__).parents[2] / "docs" / "comfyui-edit.json"
MOST_MISSING = 50


class _Missing(ModuleType):
    """A package that is not installed: any name in it is an empty class."""

    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Server:
    """A server without a page."""

    client_id = last_node_id = last_prompt_id = None

    def __getattr__(self, name: str) -> Any:
        return lambda *values, **named: None


def imported(name: str) -> Any:
    """Import a module of ComfyUI, standing in for packages that are not installed."""
    for _ in range(MOST_MISSING):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:  # noqa: PERF203
            assert error.name and not error.name.startswith("comfy"), error
            sys.modules[error.name] = _Missing(error.name)
    raise AssertionError(f"{name} lacks too many packages")


def main(folder: str) -> None:
    sys.path.insert(0, folder)
    sys.argv = ["main.py", "--cpu"]
    imported("comfy.options").enable_args_parsing()
    api, management, utils = (imported(name) for name in ("comfy_api.latest", "comfy.model_management", "comfy.utils"))
    nodes: Any = ModuleType("nodes")
    nodes.interrupt_processing = management.interrupt_current_processing
    nodes.before_node_execution = management.throw_exception_if_processing_interrupted
    nodes.NODE_CLASS_MAPPINGS = {}
    sys.modules["nodes"] = nodes
    execution = imported("execution")
    for name in [name for name, module in sys.modules.items() if isinstance(module, _Missing)]:
        del sys.modules[name]

    seen: list[tuple[int, int]] = []
    shown: dict[str, Any] = {}
    nodes.NODE_CLASS_MAPPINGS |= {one.GET_SCHEMA().node_id: one for one in (*own_nodes(api), *others(api.io, shown))}
    for one in nodes.NODE_CLASS_MAPPINGS.values():
        json.dumps(one.GET_NODE_INFO_V1())
        one()
    print(f"{len(nodes.NODE_CLASS_MAPPINGS) - 3} nodes: schemas and their JSON")

    def run(graph: dict[str, Any], stop_at: int = 0) -> list[str]:
        def step(value: int, total: int, *more: Any, **named: Any) -> None:
            seen.append((value, total))
            if len(seen) == stop_at:
                management.interrupt_current_processing()

        seen.clear()
        utils.set_progress_bar_global_hook(step)
        valid, error, outputs, errors = asyncio.run(execution.validate_prompt("graph", graph, None))
        assert valid, (error, errors)
        executor = execution.PromptExecutor(_Server())
        executor.execute(graph, "graph", {}, outputs)
        return [message[0] for message in executor.status_messages]

    graph = json.loads(GRAPH.read_text(encoding="utf-8"))
    graph["3"]["inputs"] |= {"steps": 8, "mask": ["9", 0], "paste": True}
    graph["9"] = {"class_type": "headrouter.mask.grow", "inputs": {"of": ["1", 1], "by": 0.1}}
    assert run(graph)[-1] == "execution_success"
    assert seen == [(step, 8) for _ in range(2) for step in range(1, 9)]
    assert tuple(shown["SaveImage"].shape) == (1, 64, 64, 3)
    print("the graph of the documentation, with a mask: done, shown by step")
    assert run(graph, stop_at=5)[-1] == "execution_interrupted" and len(seen) == 5
    assert run(graph)[-1] == "execution_success"
    print("interrupted at step 5 of 16, and run again")


def own_nodes(api: Any) -> list[Any]:
    from headrouter_comfy import comfy_entrypoint

    extension = asyncio.run(comfy_entrypoint())
    assert isinstance(extension, api.ComfyExtension)
    found: list[Any] = asyncio.run(extension.get_node_list())
    return found


def others(io: Any, shown: dict[str, Any]) -> list[Any]:
    """Nodes of ComfyUI that the graph has beside ours: one that gives a picture and a mask, and two that show pictures."""
    import torch
    from headrouter_comfy.tensors import tensor_of

    picture = tensor_of([render(Scene(shape="star", colour="blue", background="mint", variation=7))])
    mask = torch.zeros(picture.shape[:3])
    mask[:, :, :40] = 1

    def node(name: str, run: Any, **schema: Any) -> Any:
        members = {
            "define_schema": classmethod(lambda cls: io.Schema(name, category="image", **schema)),
            "execute": classmethod(lambda cls, **received: io.NodeOutput(*run(**received))),
        }
        return type(name, (io.ComfyNode,), members)

    def show(name: str) -> Any:
        inputs = [io.Image.Input("images"), io.String.Input("filename_prefix", optional=True)]
        keep = lambda images, **more: shown.update({name: images}) or ()  # noqa: E731
        return node(name, keep, inputs=inputs, outputs=[], is_output_node=True)

    load = node(
        "LoadImage",
        lambda image: (picture, mask),
        inputs=[io.String.Input("image")],
        outputs=[io.Image.Output(), io.Mask.Output()],
    )
    return [load, show("SaveImage"), show("PreviewImage")]


if __name__ == "__main__":
    main(sys.argv[1])
