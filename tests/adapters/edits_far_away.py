"""Edit on the device ``far`` and print, as JSON, how often each step waited for it. A script, run by ``test_transfers.py``."""

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from far import Far, move, register
from headrouter_auraflow.testing import subjects as auraflow_subjects
from headrouter_diffusers.testing import tiny_flux
from headrouter_flux.parameters import FluxParameters

from headrouter.attention.joint_attention import indices
from headrouter.editing.assembly import inversion_of, methods_of, operators_of
from headrouter.editing.batch import Batch, Task
from headrouter.editing.editor import Editor
from headrouter.editing.tuning import Plan
from headrouter.models.backbone import Backbone
from headrouter.sampling.engine import Engine

STEPS, SIDE = 2, 32
BUNDLED = ("sd3.5", "sd3", "flux")
INVERSIONS: dict[str, Any] = {
    **{name: {} for name in ("euler", "rf", "rf-sde", "rf-solver", "fireflow", "directedit", "flowedit", "sdedit")},
    "rf, hold_source": {"hold_source": True},
}
METHODS: dict[str, tuple[Any, ...]] = {
    "none": (),
    "headrouter": methods_of("headrouter"),
    "injection": methods_of("injection", {"tau": 1.0}),
    "local-blend": methods_of("local-blend", {"blend": 1.0, "mask": {"name": "words", "blocks": [0]}}),
    "maps": methods_of("maps"),
}
OPERATORS = operators_of(["projection", "gate", "mimic-cfg", "veloedit"])
METHODS["all"] = tuple(method for methods in METHODS.values() for method in methods)


KNOWN: dict[str, Callable[[torch.Tensor], Any]] = {
    "item": lambda tensor: tensor.sum().item(),
    "bool": lambda tensor: bool((tensor > 0).all()),
    "tolist": lambda tensor: tensor.tolist(),
    "list as index": lambda tensor: tensor[[0, 1]],
    "list as index of an assignment": lambda tensor: tensor.__setitem__([0, 1], 0.0),
    "mask as index": lambda tensor: tensor[tensor > 0],
    "new tensor of numbers": lambda tensor: torch.tensor([1.0, 2.0], device=tensor.device),
    "from the CPU": lambda tensor: torch.arange(3).to(tensor.device),
    "to the CPU": lambda tensor: tensor.cpu(),
    "nothing: made there": lambda tensor: torch.arange(3, device=tensor.device) + tensor.sum(),
    "nothing: one of its rows": lambda tensor: torch.stack([tensor[0], tensor[1] * 2]),
    "nothing: pinned": lambda tensor: torch.arange(3).pin_memory().to(tensor.device, non_blocking=True),
}
"""What an accelerator is waited for once, and what it is not."""


def counts(wait: Callable[[torch.Tensor], Any]) -> int:
    """How often the device is waited for."""
    with Far():
        tensor = torch.ones(3, 2, device="far")
        Far.waits.clear()
        wait(tensor)
    return len(Far.waits)


def backbones() -> Iterator[tuple[str, Backbone]]:
    """The bundled models, each with the first and the last of its blocks of each kind, and two kinds of tiny ones."""
    for kind in BUNDLED:
        backbone = Editor(kind, "rf", model="shapes", device="cpu", dtype="float32", progress=False).backbone
        transformer = backbone.pipeline.transformer
        for name in ("transformer_blocks", "single_transformer_blocks"):
            if blocks := getattr(transformer, name, None):
                setattr(transformer, name, torch.nn.ModuleList([*blocks[:1], *blocks[-1:]]))
        yield kind, type(backbone)(kind, backbone.pipeline, backbone.parameters, backbone.defaults)
    yield "tiny flux with embedded guidance", FluxParameters().load("tiny", tiny_flux())
    yield "tiny auraflow", auraflow_subjects()[0].build()


def main() -> None:
    """Print ``{"known": {…}, "edits": [[backbone, inversion, method, waits of each step, new positions], ...]}``."""
    register()
    counted = {name: counts(wait) for name, wait in KNOWN.items()}
    torch.set_num_threads(1)
    found, ends = [], list[int]()
    Engine._report = lambda *_: ends.append(len(Far.waits))  # type: ignore[method-assign]
    task = Task(("a blue cat",), (1,), "a red cat", torch.zeros(1, 3, SIDE, SIDE))
    for kind, backbone in backbones():
        for part in backbone.pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                move(part)
        encoded: dict[str, Any] = {}
        with Far():
            for inversion in INVERSIONS if kind in BUNDLED else ("euler",):
                for method in METHODS if inversion == "euler" else ("none", "all"):
                    methods = METHODS[method]
                    chosen = inversion_of(inversion.partition(",")[0], INVERSIONS[inversion])
                    operators = (
                        (*OPERATORS, *operators_of("pmi" if chosen.inverts else None)) if method == "all" else ()
                    )
                    plan = Plan(chosen, methods, STEPS, 3.0, operators)
                    batch = Batch(backbone, plan, (task,), (SIDE, SIDE), **encoded)
                    encoded = {"encoded": batch.encoded, "latents": batch.latents}
                    misses = indices.cache_info().misses
                    Far.waits.clear()
                    ends[:] = [0]
                    batch.edit()
                    waits = [after - before for before, after in itertools.pairwise(ends)]
                    found.append([kind, inversion, method, waits, indices.cache_info().misses - misses])
    json.dump({"known": counted, "edits": found}, sys.stdout)


if __name__ == "__main__":
    main()
