"""A small ComfyUI for tests: the parts of its node API that the nodes use, and the checks that it makes of them.

Written by the documented behaviour of `comfy_api.latest` (V3 schema), of the validation of a prompt and of its execution: names and
signatures are the real ones. Beyond them it checks what ComfyUI's page takes for granted: a default within its bounds, a node that
is plain JSON, and IMAGE and MASK tensors of the documented form.
"""
# ruff: noqa: A002  (the names of ComfyUI's arguments)

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

import torch

_PLAIN = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


class InterruptProcessingException(BaseException):
    """Derived from BaseException, the harder of the two that ComfyUI has had."""


class _Typed:
    def __init__(self, id: str | None = None, **about: Any):
        self.id, self.about = id, about

    @property
    def io_type(self) -> str:
        return type(self).parent  # type: ignore[attr-defined,no-any-return]

    def get_io_type(self) -> str:
        return self.io_type

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in self.about.items() if value is not None and name != "optional"}


class Input(_Typed):
    def __init__(self, id: str, display_name: str | None = None, optional: bool = False, tooltip: str | None = None):
        super().__init__(id, display_name=display_name, tooltip=tooltip)
        self.optional = optional


class _Widget(Input):
    names: tuple[str, ...] = ()

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        default: Any = None,
        **more: Any,
    ):
        super().__init__(id, display_name, optional, tooltip)
        unknown = set(more) - set(self.names)
        assert not unknown, f"{self.io_type} has no {unknown}"
        self.about |= {"default": default, **more}
        self.check(default)

    def check(self, value: Any) -> None:
        """What validation makes of a value that was typed in."""
        kind = _PLAIN[self.io_type]
        assert type(value) is kind or (kind is float and type(value) is int), f"{self.id}: {value!r} is no {kind}"
        if kind in (int, float):
            low, high = self.about["min"], self.about["max"]
            assert low <= value <= high, f"{self.id}: {value} is not within {low} and {high}"
            if kind is float:
                assert abs(value / self.about["round"] - round(value / self.about["round"])) < 1e-6


class Output(_Typed):
    def __init__(
        self,
        id: str | None = None,
        display_name: str | None = None,
        tooltip: str | None = None,
        is_output_list: bool = False,
    ):
        super().__init__(id, display_name=display_name, tooltip=tooltip)
        assert not is_output_list


def _type(name: str, widget: tuple[str, ...] | None = None) -> Any:
    base = Input if widget is None else _Widget
    own = {"parent": name} if widget is None else {"parent": name, "names": widget}
    return type(
        name,
        (),
        {"io_type": name, "Input": type("Input", (base,), own), "Output": type("Output", (Output,), {"parent": name})},
    )


class _ComboInput(_Widget):
    parent = "COMBO"
    names = ("options", "control_after_generate")

    def check(self, value: Any) -> None:
        options = self.about["options"]
        assert isinstance(options, list) and len(set(options)) == len(options)
        assert value in options, f"{self.id}: {value!r} not in {options}"


class MultiType:
    class Input(Input):
        def __init__(
            self,
            id: str,
            types: list[Any],
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
        ):
            super().__init__(id, display_name, optional, tooltip)
            self.types = types

        @property
        def io_type(self) -> str:
            return ",".join(one.io_type for one in self.types)


@dataclass
class Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    description: str = ""
    is_output_node: bool = False

    def validate(self) -> None:
        ids = [one.id for one in (*self.inputs, *self.outputs)]
        assert not [name for name, count in Counter(ids).items() if count > 1], ids
        assert all(isinstance(name, str) and name and "." not in name for name in ids)
        assert (
            self.node_id
            and self.display_name
            and self.description
            and all(isinstance(one, Input) for one in self.inputs)
        )
        assert all(isinstance(one, Output) for one in self.outputs)
        json.dumps(
            [(one.id, one.get_io_type(), one.as_dict()) for one in (*self.inputs, *self.outputs)], allow_nan=False
        )


class NodeOutput:
    def __init__(self, *args: Any):
        self.args = args


class ComfyNode:
    @classmethod
    def GET_SCHEMA(cls) -> Schema:
        assert "define_schema" in cls.__dict__ and "execute" in cls.__dict__
        schema: Schema = cls.define_schema()  # type: ignore[attr-defined]
        assert schema is not cls.define_schema(), "ComfyUI completes the schema that it is given"  # type: ignore[attr-defined]
        schema.validate()
        return schema


class ComfyExtension:
    async def on_load(self) -> None: ...


class ProgressBar:
    seen: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, total: int, node_id: str | None = None):
        self.total = total

    def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
        self.seen.append((value, total or self.total))


class Interruption:
    """The button of the page: set, the next look at it raises and unsets it."""

    asked = False
    after = 0

    @classmethod
    def throw(cls) -> None:
        if cls.after and len(ProgressBar.seen) >= cls.after:
            cls.asked, cls.after = True, 0
        if cls.asked:
            cls.asked = False
            raise InterruptProcessingException


def modules(output: str = "") -> dict[str, ModuleType]:
    """The modules that nodes import from ComfyUI, with its output folder."""
    io: Any = ModuleType("comfy_api.latest._io")
    io.Int = _type("INT", ("min", "max", "step", "control_after_generate"))
    io.Float = _type("FLOAT", ("min", "max", "step", "round"))
    io.String = _type("STRING", ("multiline", "placeholder", "dynamic_prompts"))
    io.Boolean = _type("BOOLEAN", ("label_on", "label_off"))
    io.Combo = type("Combo", (), {"io_type": "COMBO", "Input": _ComboInput})
    io.Image, io.Mask, io.Custom = _type("IMAGE"), _type("MASK"), _type
    io.MultiType, io.Schema, io.NodeOutput, io.ComfyNode = MultiType, Schema, NodeOutput, ComfyNode
    latest: Any = ModuleType("comfy_api.latest")
    latest.io, latest.ComfyExtension = io, ComfyExtension
    utils: Any = ModuleType("comfy.utils")
    utils.ProgressBar = ProgressBar
    management: Any = ModuleType("comfy.model_management")
    management.throw_exception_if_processing_interrupted = Interruption.throw
    management.InterruptProcessingException = InterruptProcessingException
    paths: Any = ModuleType("folder_paths")
    paths.get_output_directory = lambda: output
    return {
        "folder_paths": paths,
        "comfy_api": ModuleType("comfy_api"),
        "comfy_api.latest": latest,
        "comfy": ModuleType("comfy"),
        "comfy.utils": utils,
        "comfy.model_management": management,
    }


class Comfy:
    """Loads the extension as ComfyUI does, and runs prompts: nodes by number, with links as [number, slot].

    What :func:`modules` gives must be in `sys.modules`.
    """

    def __init__(self) -> None:
        from headrouter_comfy import comfy_entrypoint

        async def found() -> list[Any]:
            extension = await comfy_entrypoint()
            assert isinstance(extension, ComfyExtension)
            listed: list[Any] = await extension.get_node_list()
            return listed

        nodes = asyncio.run(found())
        assert isinstance(nodes, list) and all(isinstance(one, type) and issubclass(one, ComfyNode) for one in nodes)
        self.schemas = {one.GET_SCHEMA().node_id: one.GET_SCHEMA() for one in nodes}
        self.nodes = {one.GET_SCHEMA().node_id: one for one in nodes}
        assert len(self.nodes) == len(nodes)

    def run(
        self, prompt: Mapping[int, tuple[str, Mapping[str, Any]]], *, filled: bool = True
    ) -> dict[int, tuple[Any, ...]]:
        """Validate and run a prompt in a thread, without gradients, as ComfyUI does; outputs by number of the node.

        The page sends every widget; with `filled=False` those alone that are given, as a program may.
        """
        outputs: dict[int, tuple[Any, ...]] = {}
        failed: list[BaseException] = []

        def work() -> None:
            try:
                with torch.inference_mode():
                    for number in sorted(prompt):
                        outputs[number] = self._execute(number, prompt, outputs, filled)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return outputs

    def filled(self, name: str, /, **values: Any) -> dict[str, Any]:
        """The inputs of a node as the page sends them: every widget, at its default unless it was changed."""
        widgets = [one for one in self.schemas[name].inputs if isinstance(one, _Widget)]
        return {one.id: one.about["default"] for one in widgets} | values

    def _execute(
        self, number: int, prompt: Mapping[int, Any], outputs: Mapping[int, Any], filled: bool
    ) -> tuple[Any, ...]:
        name, given = prompt[number]
        schema, values = self.schemas[name], {}
        given = self.filled(name, **given) if filled else dict(given)
        for one in schema.inputs:
            if one.id not in given:
                assert one.optional, f"{name}: required input is missing: {one.id}"
                continue
            value = given.pop(one.id)
            if isinstance(value, list):
                source, slot = value
                kind = self.schemas[prompt[source][0]].outputs[slot].io_type
                assert kind in one.get_io_type().split(","), f"{one.id}: {kind} is no {one.get_io_type()}"
                values[one.id] = outputs[source][slot]
            else:
                if isinstance(one, _Widget):
                    one.check(value)
                values[one.id] = value
        assert not given, f"{name} has no inputs {set(given)}"
        result = self.nodes[name].execute(**values)  # type: ignore[attr-defined]
        assert isinstance(result, NodeOutput) and len(result.args) == len(schema.outputs)
        for one, value in zip(schema.outputs, result.args, strict=True):
            _check_output(one.io_type, value)
        return result.args


def _check_output(kind: str, value: Any) -> None:
    if kind in ("IMAGE", "MASK"):
        assert value.dtype == torch.float32 and value.device.type == "cpu"
        assert value.ndim == (4 if kind == "IMAGE" else 3) and (kind == "MASK" or value.shape[-1] == 3)
        assert value.min() >= 0 and value.max() <= 1
    elif kind in _PLAIN:
        assert type(value) is _PLAIN[kind]
    else:
        assert kind.startswith("HEADROUTER_") and value is not None
