"""Refining image tokens (DTR) and recording five words' maps, against the explicit S×S softmax.

Added time and memory are what comes on top of the plain attention kernel. The explicit way computes the softmax as a matrix in
the tensors' own precision, changes or reads it, and multiplies it by the values. In the same rounds the kernel with its
log-sum-exp runs beside the plain one, which it is, and what our way does after it is timed by itself: as a difference of two long
times so short a one would drown. Of our memory at least the log-sum-exp is counted, also where the kernel's own scratch hides it.

Before that, one layer of FLUX.1-dev with all of HeadRouter, a source and an edit: the bytes that steering moves, counted by shapes
on no device and multiplied by the model's 57 blocks, and its time in one layer on the CPU.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import models, steps
from benchmarks.figure import Figure, number
from benchmarks.memory import peak_bytes
from benchmarks.timing import Case, Progress, alternate
from headrouter.attention.joint_attention import JointAttention, Site, TokenLayout
from headrouter.attention.probabilities import TextToImage
from headrouter.attention.rows import Row, batch_rows
from headrouter.attention.step_info import StepInfo
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.head_router.token_weights import token_weights
from headrouter.methods.method import Method, MethodRun, RunContext
from headrouter.methods.word_maps import WordMaps

FIVE_WORDS = "a small black cat sleeps"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """One layer's attention of one edit row, at a model's shape."""

    row: Row
    site: Site
    layout: TokenLayout
    query: Tensor
    key: Tensor
    value: Tensor

    def event(self) -> JointAttention:
        """The attention, about to run."""
        return JointAttention(
            self.site,
            self.layout,
            batch_rows([self.row], guided=False),
            StepInfo("sample", 0, 1, 0, 1.0, 0),
            self.query,
            self.key,
            self.value,
            functional.scaled_dot_product_attention,
            native=True,
        )

    def run(self, method: Method) -> MethodRun:
        """A method about to see it."""
        return method.begin(RunContext("sample", 1, (self.site,), (self.row,), (1.0, 0.0), range(1)))

    def softmax(self) -> Tensor:
        """All S×S probabilities, ``[1, heads, tokens, tokens]``."""
        return (self.query @ self.key.mT).mul_(self.query.shape[-1] ** -0.5).softmax(dim=-1)


def attention(text: str, size: models.Size, dtype: torch.dtype, device: torch.device | str) -> Attention:
    """Random query, key and value for a prompt of one token to a word."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, size.heads, size.text + size.image, size.width)
    query, key, value = (torch.randn(shape, generator=generator).to(device, dtype) for _ in range(3))
    image = slice(size.text, size.text + size.image)
    layout = TokenLayout(slice(0, size.text), image, (size.side, size.side), (("t5", size.text),))
    encoded = models.prompt(text, size, device, 1)
    return Attention(
        Row(encoded, encoded, 1.0, edit=0), Site(0, "block", "dual", size.heads), layout, query, key, value
    )


def plain(given: Attention) -> Tensor:
    """The kernel alone."""
    return given.event().attend()


def with_log_sum_exp(given: Attention) -> Tensor:
    """The kernel, its log-sum-exp kept."""
    return given.event().attend(log_sum_exp=True)


def steered(given: Attention, method: Method) -> tuple[Tensor, MethodRun]:
    """The kernel and a method after it."""
    run, event = given.run(method), given.event()
    return run.after(event, event.attend(log_sum_exp=True)), run


def explicit_refinement(given: Attention, method: HeadRouter) -> Tensor:
    """Eq. 19–20 in the matrix."""
    weights, image = given.softmax(), given.layout.image
    keys = torch.tensor(given.row.prompt.positions, device=given.query.device) + given.layout.text.start
    block = weights[0][:, image][..., keys].float()
    refined = token_weights(block, method.alpha, method.amplitude, method.token_form) * block
    weights[0][:, image].index_copy_(-1, keys, refined.to(weights.dtype))
    return weights @ given.value


def explicit_maps(given: Attention) -> tuple[Tensor, Tensor]:
    """The attention, and its words' maps ``[words, image tokens]`` read from the matrix."""
    weights, image = given.softmax(), given.layout.image
    keys = torch.tensor(given.row.prompt.positions, device=given.query.device) + given.layout.text.start
    return weights @ given.value, weights[0][:, image][..., keys].float().mean(dim=0).T


def measure(
    progress: Progress,
    *,
    size: models.Size = models.FLUX_BLOCK,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    rounds: int = 5,
    timed: bool = True,
) -> Iterator[Figure]:
    """Both, at the attention shape of FLUX.1-dev unless told otherwise.

    ``timed`` gives times a goal. On a GPU they have none: ours is so little work that launching it is what takes the time.
    """
    device = torch.device(device)
    if device.type == "cpu":
        yield from steps.measure(progress, size=size, rounds=rounds)
    name = f"{str(dtype).removeprefix('torch.')}, {size.label}"
    router = HeadRouter(gamma=0, rho=0, keys="words")
    words = attention(models.TARGET, size, dtype, device)
    five = attention(FIVE_WORDS, size, dtype, device)
    tasks = (
        Task("refinement of 16 keys", words, router, partial(explicit_refinement, words, router), 10),
        Task("capture of 5 keys", five, WordMaps(), partial(explicit_maps, five), 50),
    )
    cases = {"plain": partial(plain, words), "with log-sum-exp": partial(with_log_sum_exp, words)}
    for task in tasks:
        cases |= {task.what: task.after(), f"explicit {task.what}": task.explicit}
    times = alternate(cases, rounds, device=device, warm_up=1 if device.type == "cuda" else 0, progress=progress)
    ratios = times.ratios("with log-sum-exp", "plain")
    yield Figure.of(f"kernel with its log-sum-exp over the kernel, {name}", ratios, note=f"{rounds} rounds")
    for task in tasks:
        theirs = times.added(f"explicit {task.what}", "plain")
        ours = [one[task.what].work for one in times.rounds]
        ratios = [explicit / after for explicit, after in zip(theirs, ours, strict=True)]
        yield Figure.of(
            f"{task.what}, {name}: time that the explicit way adds over ours",
            ratios,
            goal=("≥", task.goal) if timed else None,
        )
    progress("memory")
    before = peak_bytes(partial(plain, words), device)
    for task in tasks:
        least = 4 * size.heads * (size.text + size.image)  # the log-sum-exp
        ours = max(least, peak_bytes(partial(steered, task.given, task.method), device) - before)
        theirs = peak_bytes(task.explicit, device) - before
        yield Figure(
            f"{task.what}, {name}: peak memory that the explicit way adds over ours",
            theirs / ours,
            goal=("≥", 10),
            note=f"{number(theirs / 2**20)} and {number(ours / 2**20)} MiB",
        )
    progress("do both ways agree?")
    tolerance = 1e-4 if dtype == torch.float32 else 3e-2
    for task in tasks:
        yield Figure(f"{task.what}, {name}: largest relative difference", task.difference(), "", goal=("≤", tolerance))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Something done without the matrix, and the same with it.

    Attributes:
        given: The attention.
        method: Does it without.
        explicit: Does it with: gives the attention's output, and the words' maps where these are the purpose.
        goal: How many times less our way shall add.
    """

    what: str
    given: Attention
    method: Method
    explicit: Callable[[], Tensor | tuple[Tensor, Tensor]]
    goal: float

    def after(self) -> Case:
        """What our way does after the kernel."""
        run, event = self.given.run(self.method), self.given.event()
        output = event.attend(log_sum_exp=True)

        def after() -> None:
            event._text_to_image = TextToImage()  # kept for the next method that asks; here nobody has asked before
            run.after(event, output)

        return after

    def difference(self) -> float:
        """Largest difference between both ways, relative to the largest value."""
        output, run = steered(self.given, self.method)
        theirs, ours = self.explicit(), output
        if isinstance(theirs, tuple):
            theirs, ours = theirs[1].cpu(), torch.as_tensor(run.diagnostics()["text_maps"]).flatten(2)[0]
        return float((ours.float() - theirs.float()).abs().max() / theirs.float().abs().max())
