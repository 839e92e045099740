"""The tap on a model of nobody's making: other names, positional arguments, a joined stream, masks, another kernel."""

from dataclasses import dataclass, field

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from headrouter_diffusers.attention.tap import Tap
from headrouter_diffusers.sites import SiteRule
from torch import nn

from headrouter.attention.joint_attention import TokenLayout
from headrouter.attention.rows import Row, batch_rows
from headrouter.errors import IncompatibleError
from headrouter.prompts.prompt import Prompt

from .conftest import Plain

TEXT, GRID, WIDTH = 3, (2, 2), 8
LAYOUT = TokenLayout(slice(0, TEXT), slice(TEXT, TEXT + 4), GRID, (("words", TEXT),))
RULES = (
    SiteRule("layers.*.mixer", "dual", text="words"),
    SiteRule("joined.*.mixer", "single", text="everything", joined=True),
)


@dataclass
class Processor:
    mask: torch.Tensor | None = None
    causal: bool = False
    backend: str | None = None
    twice: bool = False
    seen: list = field(default_factory=list)

    def __call__(self, mixer, everything):
        query, key, value = mixer.project(everything).unflatten(-1, (3, 2, 4)).unbind(2)
        backend = self.backend and AttentionBackendName(self.backend)
        arguments = {"attn_mask": self.mask, "is_causal": self.causal, "backend": backend}
        if self.twice:
            dispatch_attention_fn(query, key, value, **arguments)
        return dispatch_attention_fn(query, key, value, **arguments).flatten(2)


class Mixer(nn.Module):
    num_heads = 2

    def __init__(self, processor):
        super().__init__()
        self.project, self.processor = nn.Linear(WIDTH, 3 * WIDTH), processor

    def forward(self, everything):
        return self.processor(self, everything)


class Block(nn.Module):
    def __init__(self, processor):
        super().__init__()
        self.mixer = Mixer(processor)

    def forward(self, picture, words):
        both = torch.cat([words, picture], dim=1)
        both = both + self.mixer(both)
        return both[:, TEXT:], both[:, :TEXT]


class Joined(nn.Module):
    def __init__(self, processor):
        super().__init__()
        self.mixer = Mixer(processor)

    def forward(self, everything):
        return everything + self.mixer(everything)


class Model(nn.Module):
    def __init__(self, processor):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(Block(processor) for _ in range(11))
        self.joined = nn.ModuleList(Joined(processor) for _ in range(2))

    def forward(self, picture, words):
        for layer in self.layers:
            picture, words = layer(picture, words)
        both = torch.cat([words, picture], dim=1)
        for layer in self.joined:
            both = layer(everything=both)
        return both


@pytest.fixture
def rows():
    nothing = Prompt("", {})
    return batch_rows([Row(nothing, nothing, 1.0), Row(nothing, nothing, 1.0, edit=0)])


@torch.no_grad()
def run(model, rows, listener=None):
    tap = Tap(model, RULES)
    picture = torch.randn(2, 4, WIDTH, generator=torch.Generator().manual_seed(0))
    words = torch.randn(2, TEXT, WIDTH, generator=torch.Generator().manual_seed(1))
    if listener is None:
        return model(picture, words)
    with tap.attach(listener), tap.forward(rows, LAYOUT):
        return model(picture, words)


MASKS = {
    "none": None,
    "[rows, keys]": torch.tensor([[True] * 6 + [False], [False] + [True] * 6]),
    "[rows, 1, 1, keys]": torch.tensor([[True] * 6 + [False], [False] + [True] * 6])[:, None, None],
    "[queries, keys]": torch.arange(49.0).reshape(7, 7).sin(),
    "[1, heads, queries, keys]": torch.arange(98.0).reshape(1, 2, 7, 7).cos(),
}


@pytest.mark.parametrize("backend", [None, "_native_math"])
@pytest.mark.parametrize("mask", MASKS)
def test_masks_and_kernels(rows, mask, backend):
    if backend and mask == "[rows, keys]":
        pytest.skip("this kernel takes no short masks")
    model = Model(Processor(mask=MASKS[mask], backend=backend))
    plain, listener = run(model, rows), Plain()
    assert torch.equal(run(model, rows, listener), plain)
    for event in listener.events:
        logits = event.query @ event.key.mT * event.scale
        if mask in ("[rows, keys]", "[rows, 1, 1, keys]"):
            logits = logits.masked_fill(~MASKS["[rows, 1, 1, keys]"], -torch.inf)
        elif mask != "none":
            logits = logits + MASKS[mask]
        weights = logits.softmax(-1)
        for row in range(2):
            block = torch.cat([heads for _, heads in event.text_to_image(row, [0, 2])])
            torch.testing.assert_close(block, weights[row, :, TEXT:, [0, 2]])
        torch.testing.assert_close(event.attend(), weights @ event.value)
        torch.testing.assert_close(event.attend(log_sum_exp=True), weights @ event.value)
        torch.testing.assert_close(event.log_sum_exp(), logits.logsumexp(-1))


def test_sites_are_in_the_order_of_execution(rows):
    listener = Plain()
    run(Model(Processor()), rows, listener)
    assert [event.site.path for event in listener.events] == [
        *(f"layers.{number}.mixer" for number in range(11)),
        "joined.0.mixer",
        "joined.1.mixer",
    ]
    assert [event.site.index for event in listener.events] == list(range(13))
    assert {event.site.heads for event in listener.events} == {2}


@pytest.mark.parametrize("index", [0, 5, 11, 12])
def test_text_of_positional_and_joined_blocks(rows, index):
    class Changed(Plain):
        def text(self, stream):
            super().text(stream)
            return stream.hidden + 1 if stream.site.index == index else stream.hidden

    model, plain, listener = Model(Processor()), Plain(), Changed()
    run(model, rows, plain)
    run(model, rows, listener)
    mixer = model.get_submodule(plain.events[index].site.path)
    for place, (one, other) in enumerate(zip(plain.events, listener.events, strict=True)):
        assert one.value.equal(other.value) is (place < index)
    difference = listener.events[index].value - plain.events[index].value
    assert difference[:, :, LAYOUT.image].abs().max() == 0
    wanted = mixer.project.weight[2 * WIDTH :].sum(1).reshape(2, 1, 4).expand(2, TEXT, 4)
    torch.testing.assert_close(difference[0][:, LAYOUT.text], wanted, rtol=1e-4, atol=1e-5)
    assert plain.streams[index].hidden.shape == (2, TEXT, WIDTH)


def test_causal_attention_is_refused(rows):
    with pytest.raises(IncompatibleError, match=r"layers\.0\.mixer attends causally"):
        run(Model(Processor(causal=True)), rows, Plain())


def test_attending_twice_is_refused(rows):
    with pytest.raises(IncompatibleError, match=r"2 times instead of once at layers\.0\.mixer"):
        run(Model(Processor(twice=True)), rows, Plain())


def test_a_model_without_joint_attention():
    with pytest.raises(
        IncompatibleError,
        match=r"Linear has no joint attention at layers\.\*\.mixer, joined\.\*\.mixer\. It attends at no module with a processor",
    ):
        Tap(nn.Linear(1, 1), RULES)
    with pytest.raises(
        IncompatibleError, match=r"at layers\.\*\.mix\. It attends at layers\.\*\.mixer, joined\.\*\.mixer\."
    ):
        Tap(Model(Processor()), [SiteRule("layers.*.mix", "dual")])
