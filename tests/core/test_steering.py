"""One pass over the edits of a picture is what the parts are one by one: norms, changes in place, shared probabilities."""

import re
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from headrouter.attention import kernels
from headrouter.attention.joint_attention import JointAttention, Site, TextStream, TokenLayout
from headrouter.attention.rows import Row, batch_rows
from headrouter.attention.step_info import StepInfo
from headrouter.methods.head_router.head_routing import HeadRouting
from headrouter.methods.head_router.head_weights import SPREAD_FLOOR, dissimilarity, dissimilarity_reference
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.head_router.rows import edits_of
from headrouter.methods.head_router.steering import Amplification, Refinement, steer_, steered_reference
from headrouter.methods.head_router.text_mixing import TextMixing
from headrouter.methods.head_router.token_weights import token_weights
from headrouter.methods.method import MethodRun, Needs, RunContext
from headrouter.methods.word_maps import WordMaps
from headrouter.prompts.prompt import Prompt, Token
from headrouter.sampling.dispatch import Dispatcher

HEADS, TEXT, GRID, WIDTH = 4, 7, (3, 5), 8
IMAGE = slice(TEXT, TEXT + 15)
SITE = Site(0, "block", "dual", HEADS)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def prompt(text: str) -> Prompt:
    """One token to a word, and one at the end."""
    tokens = tuple(Token("t5", place, *found.span()) for place, found in enumerate(re.finditer(r"\w+", text)))
    embeddings = torch.zeros(1, len(tokens) + 1, 2)
    return Prompt(text, {"embeddings": embeddings}, tokens, {"embeddings": (1,)})


def event(rows: list[Row], dtype: torch.dtype = torch.float32, *, native: bool = True) -> JointAttention:
    layout = TokenLayout(slice(0, TEXT), IMAGE, GRID, (("t5", TEXT),))
    tensors = [2 * random(len(rows), TEXT + 15, HEADS, WIDTH, seed=seed).to(dtype).transpose(1, 2) for seed in range(3)]
    items = batch_rows(rows, guided=False)
    info = StepInfo("sample", 0, 1, 0, 1.0, 0)
    return JointAttention(
        SITE, layout, items, info, *tensors, torch.nn.functional.scaled_dot_product_attention, native=native
    )


def two_pictures() -> list[Row]:
    """Three edits of one picture and one of another, of different lengths."""
    texts = ("a red cat", "a blue dog", "a red cat in snow", "a red cat")
    nothing = Prompt("", {})
    first = [Row(prompt(text), nothing, 1.0, edit=None if i == 0 else i - 1) for i, text in enumerate(texts)]
    other = [
        Row(prompt(text), nothing, 1.0, edit=None if i == 0 else 0, image=1)
        for i, text in enumerate(("a house", "a red house"))
    ]
    return [*first, *other]


def started(method: HeadRouter | HeadRouting | TextMixing | WordMaps, rows: list[Row]) -> MethodRun:
    return method.begin(RunContext("sample", 1, (SITE,), tuple(rows), (1.0, 0.0), range(1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_three_norms_give_the_dissimilarity(dtype: torch.dtype) -> None:
    source, edits = random(1, 5, 300, 16).to(dtype), random(3, 5, 300, 16, seed=1).to(dtype)
    edits[1] = source[0] + (0.01 * edits[1]).to(dtype)
    edits[2, :2] = source[0, :2]
    edits[2, 2] = 0
    found = dissimilarity(source, edits)
    expected = torch.stack([dissimilarity_reference(source[0], edit) for edit in edits])
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-3 if dtype == torch.bfloat16 else 1e-5)
    assert found[2, :3].tolist() == [0.0] * 3


def test_one_heavy_token_does_not_spoil_the_norms() -> None:
    """In bfloat16, with one token a thousand times the others, as transformers have them."""
    source = random(1, 4, 300, 16)
    source[:, :, 0] *= 1000
    edit = source * (1 + 0.02 * random(1, 4, 300, 16, seed=1))
    source, edit = source.bfloat16(), edit.bfloat16()
    expected = dissimilarity_reference(source[0], edit[0])
    assert (dissimilarity(source, edit)[0] - expected).abs().max() < SPREAD_FLOOR


def test_sources_and_edits_are_compared_however_many_there_are_of_each() -> None:
    sources, edits, counted = random(3, 4, 9, 8), random(3, 4, 9, 8, seed=1), torch.arange(9) < 7
    for own in (None, counted):
        expected = [[dissimilarity(source, edit, own) for edit in edits] for source in sources]
        torch.testing.assert_close(dissimilarity(sources[0], edits, own), torch.stack(expected[0]))
        torch.testing.assert_close(dissimilarity(sources, edits[:1], own), torch.stack([one[0] for one in expected]))
        every = dissimilarity(sources[:, None], edits[None], own)
        torch.testing.assert_close(every, torch.stack([torch.stack(one) for one in expected]))


def test_tokens_that_do_not_count_are_left_out() -> None:
    source, edits = random(1, 5, 30, 8), random(2, 5, 30, 8, seed=1)
    counted = torch.arange(30) < torch.tensor([[20], [11]])
    found = dissimilarity(source, edits, counted)
    for edit, length, own in zip(edits, (20, 11), found, strict=True):
        torch.testing.assert_close(own.double(), dissimilarity_reference(source[0, :, :length], edit[:, :length]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("reach", [True, False])
@pytest.mark.parametrize("form", ["literal", "centred", "share", None])
@pytest.mark.parametrize("amplify", ["output", "difference", "off"])
def test_in_place_is_what_the_specification_says(amplify: str, form: Any, reach: bool, dtype: torch.dtype) -> None:
    output = random(3, 22, HEADS, WIDTH).to(dtype).transpose(1, 2)
    amplification = Amplification(
        random(2, HEADS, seed=1).abs(),
        IMAGE if reach else slice(0, 22),
        random(2, 15, seed=2).abs() if reach else None,
        output[:1] if amplify == "difference" else None,
    )
    block = random(2, HEADS, 15, 4, seed=3).softmax(dim=-1)
    block[1, ..., 2:] = 0
    refinement = Refinement(block, random(2, HEADS, 4, WIDTH, seed=4).to(dtype), (4, 2), 2.0, 3.0, form or "share")
    given = (IMAGE, None if amplify == "off" else amplification, None if form is None else refinement)
    expected, kept, strides = steered_reference(output[1:], *given), output.clone(), output.stride()
    extent = steer_(output[1:], *given)
    tolerance = {"atol": 0.05, "rtol": 0.02} if dtype == torch.bfloat16 else {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(output[1:].double(), expected, **tolerance)
    assert torch.equal(output[0], kept[0]) and output.stride() == strides
    assert (extent is None) == (form is None)


def test_how_far_weights_go_is_of_an_edits_own_keys() -> None:
    block = torch.rand(2, HEADS, 15, 4, generator=torch.Generator().manual_seed(0))
    block[1, ..., 2:] = 0
    refinement = Refinement(block, random(2, HEADS, 4, WIDTH), (4, 2), 2.0, 3.0, "share")
    alone = Refinement(block[1:, ..., :2], random(1, HEADS, 2, WIDTH), (2,), 2.0, 3.0, "share")
    both = steer_(random(2, HEADS, 22, WIDTH), IMAGE, None, refinement)
    one = steer_(random(1, HEADS, 22, WIDTH), IMAGE, None, alone)
    assert both is not None and one is not None
    torch.testing.assert_close(both[1], one[0])


def test_how_far_weights_go_is_known_of_millions_of_them() -> None:
    block = torch.rand(1, 8, 4096, 64, generator=torch.Generator().manual_seed(0))
    extent = steer_(
        torch.zeros(1, 8, 4096, 2),
        slice(0, 4096),
        None,
        Refinement(block, torch.zeros(1, 8, 64, 2), (64,), 2.0, 1.0, "share"),
    )
    change = (token_weights(block, 2.0, 1.0, "share").double() - 1).abs().sum()
    assert extent is not None
    torch.testing.assert_close(extent[0, 0].double(), change, rtol=1e-5, atol=0)


METHODS = {
    "defaults": {},
    "words": {"where": "words"},
    "paper": {"amplify": "output", "where": "everywhere", "token_form": "literal", "keys": "all", "k": 1.0},
    "release": {"image_tokens": "features", "token_form": "centred", "amplify": "output"},
}


@pytest.mark.parametrize("chunk", [kernels.CHUNK_ELEMENTS, 100])
@pytest.mark.parametrize("name", METHODS)
def test_edits_together_are_what_each_is_alone(name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "CHUNK_ELEMENTS", chunk)
    rows, method = two_pictures(), HeadRouter(rho=0, gamma=1.0, **METHODS[name])
    together = event(rows)
    assert [edits.places for edits in edits_of(together)] == [(1, 2, 3), (5,)]
    output = together.attend()
    run = started(method, rows)
    steered, found = run.after(together, output), run.diagnostics()
    assert (steered - output)[1:3].abs().amax(dim=(1, 2, 3)).min() > 1e-4
    for number, (source, place) in enumerate(((0, 1), (0, 2), (0, 3), (4, 5))):
        pair = [rows[source], rows[place]]
        alone, own = event(pair), started(method, pair)
        for tensor in ("query", "key", "value"):
            setattr(alone, tensor, getattr(together, tensor)[[source, place]])
        torch.testing.assert_close(own.after(alone, output[[source, place]])[1], steered[place], atol=1e-6, rtol=1e-5)
        for name_of, value in own.diagnostics().items():
            torch.testing.assert_close(value[0], found[name_of][number], equal_nan=True)


def listened(joint: JointAttention, *runs: MethodRun) -> torch.Tensor:
    dispatcher = Dispatcher()
    dispatcher.enter(joint.step_info, runs)
    return dispatcher.attention(joint)


@pytest.mark.parametrize("native", [True, False])
def test_probabilities_are_computed_once_for_all_methods(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = two_pictures()
    methods = [HeadRouter(rho=0, where="words"), WordMaps()]
    expected = []
    for each in methods:
        listened(event(rows, native=native), run := started(each, rows))
        expected.append(run.diagnostics())
    asked: list[tuple[int, int]] = []
    summed: list[tuple[int, ...]] = []
    plain, chunked = kernels.probabilities, kernels.log_sum_exp_chunked
    monkeypatch.setattr(kernels, "probabilities", lambda *given: asked.append(given[1].shape[2]) or plain(*given))
    monkeypatch.setattr(
        kernels, "log_sum_exp_chunked", lambda *given: summed.append(given[0].shape[:3]) or chunked(*given)
    )
    runs = [started(each, rows) for each in methods]
    listened(event(rows, native=native), *runs)
    assert asked == [3, 5, 3, 3], "each edit's words once, of its own prompt"
    assert summed == ([] if native else [(1, HEADS, 15)] * 4), "only of edits, and only of image queries"
    for run, alone in zip(runs, expected, strict=True):
        for name, value in run.diagnostics().items():
            torch.testing.assert_close(value, alone[name], equal_nan=True)


class Copies(TorchDispatchMode):
    """Counts copies of tensors as large as the output."""

    def __init__(self, elements: int):
        super().__init__()
        self.elements, self.made = elements, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.clone.default and found.numel() >= self.elements:
            self.made += 1
        return found


class Keeps(MethodRun):
    """Keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def needs(self, step: int) -> Needs:
        return Needs(attention=frozenset({0}))

    def after(self, event: JointAttention, output: torch.Tensor) -> torch.Tensor:
        self.seen += [output, output.clone()]
        return output

    def diagnostics(self) -> Any:
        return {}


def test_the_kernels_output_is_written_over_unless_a_method_has_seen_it() -> None:
    rows = two_pictures()
    run = started(HeadRouter(rho=0), rows)
    with Copies(1000) as copies:
        alone = listened(event(rows), run)
    assert copies.made == 0
    keeps = Keeps()
    assert torch.equal(listened(event(rows), keeps, run), alone)
    assert torch.equal(*keeps.seen), "what a method before has kept stays as it was"


def test_what_the_kernel_gives_of_its_own_is_not_written_over() -> None:
    rows = two_pictures()
    joint = event(rows)
    joint._native, joint._attend = False, lambda query, key, value: value
    value, kept = joint.value, joint.value.clone()
    listened(joint, started(HeadRouter(rho=0), rows))
    assert torch.equal(value, kept)
    assert joint.writable(value) is not value


@pytest.mark.parametrize("chunk", [kernels.CHUNK_ELEMENTS, 30], ids=["whole", "chunked"])
def test_how_far_weights_went_is_that_of_the_explicit_softmax(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "CHUNK_ELEMENTS", chunk)
    rows = two_pictures()
    joint, run = event(rows), started(HeadRouter(rho=0, nu=0.2), rows)
    run.after(joint, joint.attend())
    found = run.diagnostics()
    for number, (source, place) in enumerate(((0, 1), (0, 2), (0, 3), (4, 5))):
        keys = list(rows[place].prompt.new_positions(rows[source].prompt))
        whole = (joint.query[place] @ joint.key[place].mT * joint.scale).softmax(dim=-1)
        weights = token_weights(whole[:, IMAGE][..., keys], 2.0, 0.2, "share")
        if keys:
            change, ratio = (weights - 1).abs().mean(), weights.max() / weights.min()
        else:
            change = ratio = torch.tensor(torch.nan)
        given = (found["token_weight_change"][number, 0, 0], found["token_weight_ratio"][number, 0, 0])
        torch.testing.assert_close(given, (change, ratio), atol=1e-5, rtol=1e-4, equal_nan=True)


def test_text_is_mixed_in_the_rows_of_edits_alone() -> None:
    rows = two_pictures()
    items, info = batch_rows(rows, guided=False), StepInfo("sample", 0, 1, 0, 1.0, 0)
    first, second = random(len(rows), TEXT, WIDTH), random(len(rows), TEXT, WIDTH, seed=1)
    run = started(TextMixing(rho=0.25), rows)
    assert torch.equal(run.text(TextStream(SITE, items, info, first)), first)
    expected = torch.where(torch.tensor([item.is_edit for item in items])[:, None, None], 0.75, 1.0) * second
    expected[[1, 2, 3, 5]] += 0.25 * first[[1, 2, 3, 5]]
    torch.testing.assert_close(run.text(TextStream(SITE, items, info, second)), expected)


@pytest.mark.parametrize("nu", [2.0, 30.0])
def test_the_smallest_weight_is_reported_however_near_to_nothing(nu: float) -> None:
    block = torch.rand(1, 2, 12, 3, generator=torch.Generator().manual_seed(0)).softmax(dim=-2)
    block[0, 0, 0] = 0
    refinement = Refinement(block, torch.zeros(1, 2, 3, 4), (3,), 2.0, nu, "share")
    extent = steer_(torch.zeros(1, 2, 12, 4), slice(0, 12), None, refinement)
    weights = token_weights(block, 2.0, nu, "share") / 2
    assert extent is not None and extent[0, 2] == weights.min() > 0 and extent[0, 1] == weights.max()
