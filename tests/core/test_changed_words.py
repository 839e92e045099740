"""Steering only by the words in which two prompts differ, against explicit softmax on the toy model."""

from collections.abc import Callable, Mapping

import pytest
import torch
from headrouter_inversions.euler import Euler

from headrouter.attention.joint_attention import JointAttention
from headrouter.attention.rows import Row
from headrouter.errors import IncompatibleError
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.head_router.token_weights import refined_output_reference
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.prompts.prompt import Prompt
from headrouter.sampling.engine import Engine
from headrouter.sampling.inversion import RunInputs
from headrouter.sampling.noise import Noise
from headrouter.testing.toy import ToyMMDiT

Seen = tuple[JointAttention, torch.Tensor, int]
ROUTE = {"gamma": 0.7, "rho": 0.0, "amplify": "output", "where": "everywhere"}


class Watch(Method):
    """Calls ``see`` once, with the first event, the output so far, and the place of the edit's row."""

    see: Callable[..., None]

    @property
    def requires(self) -> frozenset[str]:
        return frozenset()

    def begin(self, context: RunContext) -> MethodRun:
        return WatchRun(self.see)


class WatchRun(MethodRun):
    def __init__(self, see: Callable[..., None]):
        self.see = see

    def needs(self, step: int) -> Needs:
        return Needs(attention=frozenset({0}), pair=True) if step == 0 else Needs()

    def after(self, event: JointAttention, output: torch.Tensor) -> torch.Tensor:
        place = next(place for place, item in enumerate(event.rows) if item.is_edit)
        self.see(event, output.clone(), place)
        return output

    def diagnostics(self) -> Mapping[str, torch.Tensor]:
        return {}


@pytest.fixture(params=[True, False], ids=["text-first", "image-first"])
def toy(request: pytest.FixtureRequest) -> ToyMMDiT:
    return ToyMMDiT(text_first=request.param)


def run(toy: ToyMMDiT, method: HeadRouter, edit: str = "a blue dog", source: str | None = "a red cat") -> Seen:
    seen: list[Seen] = []
    prompts = dict(zip((source or "", edit, ""), toy.encode_prompts([source or "", edit, ""]), strict=True))
    rows = [Row(prompts[edit], prompts[""], 3.0, edit=0)]
    if source is not None:
        rows.insert(0, Row(prompts[source], prompts[""], 3.0))
    shape = toy.latent_shape(32, 24)
    start = torch.randn(1, *shape, generator=torch.Generator().manual_seed(9))
    inputs = RunInputs(tuple(toy.sigmas(3, 32, 24).tolist()), start, Noise([3], shape, toy.device), start)
    watch = Watch(see=lambda *one: seen.append(one))
    Engine(toy).sample(Euler(), [method, watch], rows, inputs, keep_source=source is not None)
    return seen[0]


def explicit(event: JointAttention, place: int) -> torch.Tensor:
    """All attention probabilities of one row, [heads, tokens, tokens]."""
    return (event.query[place] @ event.key[place].transpose(-1, -2) * event.scale).softmax(dim=-1)


def test_only_new_occurrences_are_new_positions(toy: ToyMMDiT) -> None:
    source, edit = toy.encode_prompts(["a red cat and a red dog", "a red cat and a blue cat"])
    assert edit.new_words(source) == ("blue", "cat")
    new = edit.new_positions(source)
    assert set(new) < set(edit.find("blue")) | set(edit.find("cat"))
    assert set(edit.find("cat")) - set(new) == set(source.find("cat"))
    assert edit.new_positions(edit) == ()


def test_changed_keys_are_those_of_the_changed_words(toy: ToyMMDiT) -> None:
    event, output, place = run(toy, HeadRouter(gamma=0.0, rho=0.0, nu=2.0, keys="changed"))
    prompt: Prompt = event.rows[place].prompt
    positions = tuple(sorted({*prompt.find("blue"), *prompt.find("dog")}))
    wanted = refined_output_reference(
        event.query[place],
        event.key[place],
        event.value[place],
        event.layout,
        positions,
        2.0,
        2.0,
        "share",
        event.scale,
    )
    assert torch.allclose(output[place], wanted, atol=1e-5)
    _, every, _ = run(toy, HeadRouter(gamma=0.0, rho=0.0, nu=2.0, keys="words"))
    assert float((every[place] - output[place]).abs().max()) > 1e-4


def test_head_weights_act_as_far_as_the_changed_words_reach(toy: ToyMMDiT) -> None:
    event, everywhere, place = run(toy, HeadRouter(**ROUTE, image_tokens="off"))
    _, output, _ = run(toy, HeadRouter(**{**ROUTE, "where": "words"}, image_tokens="off"))
    plain = event.attend()[place]
    weights = (everywhere[place] / plain)[:, :1, :1]
    prompt, layout = event.rows[place].prompt, event.layout
    keys = torch.tensor(sorted({*prompt.find("blue"), *prompt.find("dog")})) + layout.text.start
    attention = explicit(event, place)[:, layout.image][..., keys].mean(dim=0).sum(dim=-1)
    reach = torch.zeros(layout.length)
    reach[layout.image] = attention / attention.max()
    assert 0 < reach[layout.image].min() < 0.95
    assert torch.allclose(output[place], plain * (1 + (weights - 1) * reach[:, None]), atol=1e-4)


def test_head_weights_act_in_the_image_alone(toy: ToyMMDiT) -> None:
    event, everywhere, place = run(toy, HeadRouter(**ROUTE, image_tokens="off"))
    _, output, _ = run(toy, HeadRouter(**{**ROUTE, "where": "image"}, image_tokens="off"))
    image, text = event.layout.image, event.layout.text
    assert torch.equal(output[place][:, image], everywhere[place][:, image])
    assert torch.equal(output[place][:, text], event.attend()[place][:, text])


@pytest.mark.parametrize("where", ["everywhere", "image"])
def test_the_difference_is_amplified_by_the_head_weights(toy: ToyMMDiT, where: str) -> None:
    event, everywhere, place = run(toy, HeadRouter(**ROUTE, image_tokens="off"))
    _, output, _ = run(toy, HeadRouter(**{**ROUTE, "amplify": "difference", "where": where}, image_tokens="off"))
    plain, pair = event.attend(), event.rows[place].pair
    weights = (everywhere[place] / plain[place])[:, :1, :1]
    wanted = plain[place] + (weights - 1) * (plain[place] - plain[pair])
    touched = event.layout.image if where == "image" else slice(None)
    assert torch.allclose(output[place][:, touched], wanted[:, touched], atol=1e-5)
    assert float((wanted - everywhere[place])[:, touched].abs().max()) > 1e-3
    if where == "image":
        assert torch.equal(output[place][:, event.layout.text], plain[place][:, event.layout.text])


def test_where_the_branches_agree_an_amplified_difference_changes_nothing(toy: ToyMMDiT) -> None:
    steered = HeadRouter(gamma=5.0, k=0.0, rho=0.0, image_tokens="off", amplify="difference")
    event, output, place = run(toy, steered, edit="a red cat", source="a red cat")
    assert torch.equal(output[place], event.attend()[place])


def test_equal_prompts_have_no_words_to_steer_by(toy: ToyMMDiT) -> None:
    steered = HeadRouter(**{**ROUTE, "where": "words"}, keys="changed")
    event, output, place = run(toy, steered, edit="a red cat", source="a red cat")
    image = event.layout.image
    assert torch.allclose(output[place][:, image], event.attend()[place][:, image], atol=1e-6)


def test_changed_words_need_a_source(toy: ToyMMDiT) -> None:
    with pytest.raises(IncompatibleError, match=r"`method.keys` 'changed' compares .* use `method.keys='words'`"):
        run(toy, HeadRouter(gamma=0.0, keys="changed"), source=None)


def test_what_looks_at_words_says_so() -> None:
    assert "prompt-words" in HeadRouter(keys="changed").requires
    assert "prompt-words" in HeadRouter(image_tokens="off", where="words").requires
    assert "prompt-words" not in HeadRouter(image_tokens="off").requires
    assert "prompt-words" not in HeadRouter(keys="all").requires
