"""Attention events and runs of the toy model that the tests share."""

from collections.abc import Sequence
from typing import Any

import torch
from headrouter_inversions.euler import Euler
from headrouter_inversions.fireflow import FireFlow
from headrouter_inversions.flowedit import FlowEdit
from headrouter_inversions.rf import RFInversion
from headrouter_inversions.rf_sde import RFInversionSDE
from headrouter_inversions.rf_solver import RFSolver
from headrouter_inversions.sdedit import SDEdit
from torch import Tensor
from torch.nn import functional

from headrouter.attention.joint_attention import JointAttention, Site, TokenLayout
from headrouter.attention.rows import Row, batch_rows
from headrouter.attention.step_info import StepInfo
from headrouter.methods.method import Method
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.engine import Engine, Sampled
from headrouter.sampling.inversion import Inversion, RunInputs
from headrouter.sampling.noise import Noise
from headrouter.testing.toy import ToyMMDiT

NOTHING = Prompt("", {})
STEPS, WIDTH, HEIGHT = 6, 32, 24
INVERSIONS: dict[str, Inversion] = {
    "euler": Euler(),
    "rf": RFInversion(),
    "rf-sde": RFInversionSDE(),
    "rf-solver": RFSolver(),
    "fireflow": FireFlow(),
    "flowedit": FlowEdit(plain_steps=2),
    "sdedit": SDEdit(),
}


def layout(order: str, text: int = 7, grid: tuple[int, int] = (3, 5)) -> TokenLayout:
    """Text and image in the order of the letters t, i, and r for three registers."""
    lengths, at, parts = {"t": text, "i": grid[0] * grid[1], "r": 3}, 0, {"r": slice(0, 0)}
    for letter in order:
        parts[letter], at = slice(at, at + lengths[letter]), at + lengths[letter]
    return TokenLayout(parts["t"], parts["i"], grid, (("t5", text),), registers=parts["r"])


def event(
    where: TokenLayout,
    rows: Sequence[Row] | None = None,
    bias: Tensor | None = None,
    *,
    step: int = 0,
    native: bool = True,
    query: Tensor | None = None,
    key: Tensor | None = None,
    channels: int = 8,
    heads: int = 3,
) -> JointAttention:
    """Random tensors of a source and two edits, or of these rows, each with both branches at guidance 3."""
    rows = rows or [Row(NOTHING, NOTHING, 3.0, edit=edit) for edit in (None, 0, 1)]
    items = batch_rows(rows)
    generator = torch.Generator().manual_seed(1)
    shape = (len(items), heads, where.length, channels)
    q, k, v = (torch.randn(shape, generator=generator) * 2 for _ in range(3))
    q, k = (drawn if given is None else given for drawn, given in ((q, query), (k, key)))

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)

    step_info = StepInfo("sample", step, STEPS, 0, 1.0, step)
    return JointAttention(Site(0, "block", "dual", heads), where, items, step_info, q, k, v, attend, None, bias, native)


def inputs(toy: ToyMMDiT) -> RunInputs:
    shape = toy.latent_shape(WIDTH, HEIGHT)
    noise = Noise([3], shape, toy.device)
    source = torch.randn(1, *shape, generator=torch.Generator().manual_seed(9)) * 0.5
    return RunInputs(
        tuple(toy.sigmas(STEPS, WIDTH, HEIGHT).tolist()), source, noise, noise("start", 0), (WIDTH, HEIGHT)
    )


def rows(toy: ToyMMDiT, source: str, *targets: str, guidance: float = 3.0) -> list[Row]:
    first, *others, negative = toy.encode_prompts([source, *targets, ""])
    return [Row(first, negative, guidance), *(Row(p, negative, guidance, edit=n) for n, p in enumerate(others))]


def sample(toy: ToyMMDiT, *methods: Method, inversion: Inversion | None = None, **values: Any) -> Sampled:
    """A run on the toy, the source's row kept to the end."""
    prompts, guidance = values.pop("prompts", ("a red cat", "a blue dog")), values.pop("guidance", 3.0)
    chosen = rows(toy, *prompts, guidance=guidance)
    return Engine(toy).sample(inversion or Euler(), methods, chosen, inputs(toy), keep_source=True, **values)
