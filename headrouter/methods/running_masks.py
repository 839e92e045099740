"""Run the masks of a run: scouts before the first step, listeners before all methods, and a record of each step."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.masks.context import MaskContext
from headrouter.masks.mask import Evaluate, MaskRun
from headrouter.methods.method import MethodRun, Needs


@final
class RunningMasks:
    """Holds the masks that take part in a run.

    Attributes:
        listeners: Forward attention to the masks that listen; they come before all methods, and hear the model's own outputs.
    """

    def __init__(self, context: MaskContext, steps: int, own: MaskRun | None):
        """Begin with the masks of a run; ``own``, or else the first that a part has, is recorded."""
        parts = {part for mask in context.runs for part in mask.parts}
        first = next((run for mask, run in context.runs.items() if mask not in parts), None)
        self._context, self._steps, self._recorded = context, steps, own or first
        self._found: dict[tuple[int, int], Tensor] = {}
        runs = [(run, context.until[mask]) for mask, run in context.runs.items()]
        self.listeners = [_Listener(run, until) for run, until in runs if run.sites]

    def scout(self, evaluate: Evaluate) -> None:
        """Let masks that are known from velocities run the model ahead of the edit."""
        for run in self._context.runs.values():
            if run.mask.scouts:
                run.scout(evaluate)

    def record(self, step: int) -> None:
        """Note the mask of each edit after a step, as long as it is used."""
        if self._recorded is None or step >= self._context.until[self._recorded.mask]:
            return
        for number, row in enumerate(self._context.edits):
            value = self._recorded.on_latents(row)
            if value is not None:
                self._found[number, step] = value

    def recorded(self) -> dict[str, Tensor]:
        """Return ``masks`` and ``areas`` of the edits, on the CPU, see :class:`~headrouter.sampling.engine.Sampled`."""
        if self._recorded is None:
            return {}
        edits = self._context.edits
        masks = torch.full((len(edits), self._steps, *self._context.grid), torch.nan, dtype=torch.float32, device="cpu")
        if self._found:
            places = torch.tensor(list(self._found), device="cpu").T
            masks[tuple(places)] = torch.stack(list(self._found.values())).float().cpu()  # one transfer
        if self._context.size is None:
            return {"masks": masks}
        size = self._context.size[1], self._context.size[0]
        areas = torch.zeros(len(edits), *size, dtype=torch.uint8, device="cpu")
        for number, row in enumerate(edits):
            found = self._recorded.on_picture(row, size)
            if found is not None:
                areas[number] = (found * 255).round().to(torch.uint8).cpu()
        return {"masks": masks, "areas": areas}


@final
class _Listener(MethodRun):
    """Forwards the attention of a run to a mask, and changes nothing."""

    def __init__(self, run: MaskRun, until: int):
        self._run, self._until = run, until
        self._needs = Needs(attention=run.sites, pair="conditional")

    def needs(self, step: int) -> Needs:
        return self._needs if step < self._until else Needs()

    def text_keys(self, event: JointAttention) -> Mapping[int, Sequence[int]]:
        return self._run.text_keys(event)

    def after(self, event: JointAttention, output: Tensor) -> Tensor:
        self._run.hear(event, output)
        return output

    def end_forward(self) -> None:
        self._run.end_call()

    def diagnostics(self) -> Mapping[str, Tensor]:
        return {}
