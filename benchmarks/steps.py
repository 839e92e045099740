"""Steering of one layer of FLUX.1-dev, one edit: bytes that are moved, and time, against the equations one by one in float32."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks import models
from benchmarks.figure import Figure
from benchmarks.timing import Progress, alternate
from benchmarks.traffic import Traffic
from headrouter.attention import fused, kernels
from headrouter.attention.joint_attention import JointAttention, Site, TokenLayout
from headrouter.attention.rows import Row, batch_rows
from headrouter.attention.step_info import StepInfo
from headrouter.methods.head_router.head_weights import head_weights, normalised
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.head_router.token_weights import token_weights
from headrouter.methods.method import MethodRun, RunContext
from headrouter.prompts.prompt import Prompt

ROUTER = HeadRouter(rho=0)
BLOCKS = 57
"""Blocks of FLUX.1-dev."""


def attended(size: models.Size, device: str, dtype: torch.dtype) -> tuple[JointAttention, Tensor, MethodRun]:
    """Attention of a source and its edit, its output as if from a kernel that gives the log-sum-exp, and HeadRouter's run."""
    nothing = Prompt("", {})
    texts = [models.prompt(text, size, "cpu", 1) for text in (models.SOURCE, models.TARGET)]
    rows = (Row(texts[0], nothing, 1.0), Row(texts[1], nothing, 1.0, edit=0))
    site, tokens = Site(0, "block", "dual", size.heads), size.text + size.image
    layout = TokenLayout(slice(0, size.text), slice(size.text, tokens), (size.side, size.side), (("t5", size.text),))
    shape = (2, tokens, size.heads, size.width)
    query, key, value, output = (torch.randn(shape, dtype=dtype, device=device).transpose(1, 2) for _ in range(4))
    batch, now = batch_rows(rows, guided=False), StepInfo("sample", 0, 1, 0, 1.0, 0)
    log_sum_exp = torch.full((2, size.heads, tokens), 9.0, device=device)
    event = JointAttention(
        site,
        layout,
        batch,
        now,
        query,
        key,
        value,
        lambda *_: output,
        with_log_sum_exp=lambda *_: (output, log_sum_exp),
    )
    run = ROUTER.begin(RunContext("sample", 1, (site,), rows, (1.0, 0.0), range(1)))
    event.expect(run.text_keys(event))
    return event, event.attend(log_sum_exp=True), run


def one_by_one(event: JointAttention, output: Tensor, keys: tuple[int, ...]) -> Tensor:
    """Eq. 12 to 20 one by one, each on copies in float32."""
    source, edit = output[0].float(), output[1].float()
    apart = (source / source.norm(dim=(1, 2), keepdim=True) - edit / edit.norm(dim=(1, 2), keepdim=True)).square()
    weights = head_weights(normalised(0.5 * apart.sum(dim=(1, 2))), ROUTER.gamma, ROUTER.k, ROUTER.delta, ROUTER.form)
    image, text = event.layout.image, event.layout.text
    logits = event.query[1, :, image].float() @ event.key[1].float()[:, list(keys)].mT * event.scale
    block = (logits - event.log_sum_exp()[1, :, image, None]).exp()
    change = (token_weights(block, ROUTER.alpha, ROUTER.amplitude, ROUTER.token_form) - 1) * block
    steered = edit.clone()
    steered[:, image] += change @ event.value[1].float()[:, text][:, list(keys)]
    steered[:, image] += (weights[:, None, None] - 1) * (edit - source)[:, image]
    result = output.clone()
    result[1] = steered.to(output.dtype)
    return result


def moved(size: models.Size, *, fuse: bool) -> Traffic:
    """Operations started, and bytes moved, for steering in one layer on a GPU, by shapes alone."""
    event, output, run = attended(size, "meta", torch.bfloat16)
    event._lent = output  # nothing lies anywhere on this device
    with Traffic() as traffic, _as_on_a_gpu(traffic) if fuse else patch.object(kernels, "_products", _products):
        run.after(event, output)
    kernels.indices.cache_clear()
    return traffic


def _products(query: Tensor, key: Tensor) -> Tensor:
    return torch.bmm(query[0], key[0].mT, out_dtype=torch.float32)[None]


@contextmanager
def _as_on_a_gpu(traffic: Traffic) -> Iterator[None]:
    """Fused kernels run, and count what they read and write instead."""
    kernels_of = {
        "headrouter.attention.fused_probabilities": ("_probabilities",),
        "headrouter.methods.head_router.fused.steering": ("_steer", "_reach"),
        "headrouter.methods.head_router.fused.weights": ("_squares", "_cosines", "_stretch", "_gains"),
    }

    class Counts:
        def __init__(self, kernel: Any):
            self.names = kernel.arg_names

        def __getitem__(self, grid: object) -> Any:
            return self.run

        def run(self, *args: Any, **options: Any) -> None:
            traffic.operations += 1
            given = dict(zip(self.names, args, strict=False))
            share = (given["last"] - given["first"]) / given["edit"].shape[2] if "first" in given else 1.0
            for name in ("edit", "source"):
                if isinstance(given.get(name), Tensor):
                    traffic.add(given[name], share=share)
            if "first" in given:
                traffic.add(given["edit"], share=share)  # written over
            others = {name: value for name, value in given.items() if name not in ("edit", "source", "counted")}
            traffic.add(*others.values())

    with ExitStack() as stack:
        stack.enter_context(patch.object(fused, "fits", lambda tensor: True))
        for module, names in kernels_of.items():
            for name in names:
                kernel = getattr(import_module(module), name)
                stack.enter_context(patch.object(import_module(module), name, Counts(kernel)))
        yield


def measure(
    progress: Progress, *, size: models.Size = models.FLUX_BLOCK, dtype: torch.dtype = torch.bfloat16, rounds: int = 5
) -> Iterator[Figure]:
    """Bytes by shapes, and time on the CPU."""
    progress("bytes")
    event, output, run = attended(size, "meta", dtype)
    (keys,) = (tuple(own) for own in run.text_keys(event).values())
    kernels.indices.cache_clear()
    with Traffic() as traffic:
        one_by_one(event, output, keys)
    what = f"bytes moved for steering in a forward pass of FLUX.1-dev, bfloat16, {size.label}"
    yield Figure(f"{what}: the equations one by one", traffic.bytes * BLOCKS / 1e9, "GB")
    found = {"ours": (moved(size, fuse=False), 33, 41)}
    if find_spec("triton"):
        found["ours by fused kernels"] = (moved(size, fuse=True), 10, 12)
    for name, (one, most, _) in found.items():
        yield Figure(f"{what}: {name}", one.bytes * BLOCKS / 1e9, "GB", goal=("≤", most))
    for name, (one, _, most) in found.items():
        yield Figure(f"operations started to steer a layer on a GPU: {name}", one.operations, "", goal=("≤", most))
    event, output, run = attended(size, "cpu", dtype)

    def ours() -> None:
        event.expect({})
        event.key = event.key[:]  # another tensor, whose probabilities are not known
        event.attend(log_sum_exp=True)
        event.lend(output)
        run.after(event, output)

    cases = {"ours": ours, "one by one": lambda: one_by_one(event, output, keys)}
    times = alternate(cases, rounds, device=torch.device("cpu"), warm_up=1, progress=progress)
    name = f"steering a layer, {str(dtype).removeprefix('torch.')}, {size.label}"
    yield Figure.of(
        f"{name}: time of the equations one by one over ours", times.ratios("one by one", "ours"), goal=("≥", 2.5)
    )
