"""What calls with the same rows share is made once, and anew where anything that it depends on may be another."""

from typing import Any

import pytest
import torch
from headrouter_diffusers.pipeline import inputs as module
from torch.nn.modules.module import register_module_forward_pre_hook

from headrouter.attention.rows import Row

from .conftest import Plain, build, noise, rows_of

KINDS = ("flux", "sd3", "sd3.5-medium")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tensors of prompts that were put together, in order."""
    plain, seen = module.stacked, list[str]()
    monkeypatch.setattr(module, "stacked", lambda prompts, name: seen.append(name) or plain(prompts, name))
    return seen


def inputs_of(backbone: Any, latents: torch.Tensor, rows: tuple[Row, ...]) -> list[torch.Tensor]:
    """Return the tensors that the transformer is given in one call, without a hook, which would be somebody's code."""
    given, plain = list[dict[str, Any]](), type(backbone.pipeline.transformer).__call__
    with pytest.MonkeyPatch.context() as patch:
        kind = type(backbone.pipeline.transformer)
        patch.setattr(kind, "__call__", lambda self, **named: given.append(named) or plain(self, **named))
        backbone.velocity(latents, 0.7, rows)
    return [value for named in given for value in named.values() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_are_put_together_once_for_the_same_rows(kind: str, made: list[str]) -> None:
    backbone: Any = build(kind)
    rows, latents = rows_of(backbone, "a cat", "a dog", guidance=3.0), noise(backbone, 2)
    first = backbone.velocity(latents, 0.7, rows)
    count = len(made)
    assert count and torch.equal(backbone.velocity(latents, 0.7, list(rows)), first)
    assert len(made) == count


CHANGES = {
    "other rows": lambda backbone, rows: rows[::-1],
    "fewer rows": lambda backbone, rows: rows[:1],
    "a run that begins": lambda backbone, rows: (backbone.device, rows)[1],
    "latents that were decoded": lambda backbone, rows: (backbone.decode(noise(backbone, 1)), rows)[1],
    "another number type": lambda backbone, rows: (backbone.pipeline.transformer.double(), rows)[1],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_they_are_put_together_anew_after(kind: str, change: str, made: list[str]) -> None:
    backbone: Any = build(kind)
    rows = rows_of(backbone, "a cat", "a dog", guidance=3.0)
    backbone.velocity(noise(backbone, 2), 0.7, rows)
    rows = CHANGES[change](backbone, rows)
    made.clear()
    again = inputs_of(backbone, noise(backbone, 2)[: len(rows)], rows)
    assert made
    expected = inputs_of(fresh := build(kind), noise(fresh, 2)[: len(rows)], rows)
    assert len(again) == len(expected)
    for mine, other in zip(again, expected, strict=True):
        assert torch.equal(mine.to(other.dtype), other)


@pytest.mark.parametrize("kind", KINDS)
def test_places_of_tokens_follow_the_size(kind: str) -> None:
    backbone: Any = build(kind)
    rows = rows_of(backbone, "a cat", guidance=3.0)
    for height, width in ((4, 8), (8, 4), (4, 8)):
        latents = torch.ones(1, backbone.latent_channels, height, width, dtype=torch.float32, device="cpu")
        expected = inputs_of(build(kind), latents, rows)
        for mine, other in zip(inputs_of(backbone, latents, rows), expected, strict=True):
            assert torch.equal(mine, other)


def spoil(_: object, given: tuple[torch.Tensor, ...], named: dict[str, torch.Tensor] | None = None) -> None:
    """Write into what a module is given, as a hook."""
    (named["encoder_hidden_states"] if named else given[0]).add_(1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", [True, False], ids=["before a run", "within a run"])
def test_a_hook_that_writes_into_what_it_is_given_spoils_no_other_call(kind: str, asked: bool) -> None:
    backbone: Any = build(kind)
    rows, latents = rows_of(backbone, "a cat", guidance=3.0), noise(backbone, 1)
    expected = backbone.velocity(latents, 0.7, rows)
    hook = backbone.pipeline.transformer.register_forward_pre_hook(spoil, with_kwargs=True)
    if asked:
        assert backbone.device.type == "cpu"
    spoiled = [backbone.velocity(latents, 0.7, rows) for _ in range(2)]
    assert torch.equal(*spoiled) and not torch.equal(spoiled[0], expected)
    hook.remove()
    assert torch.equal(backbone.velocity(latents, 0.7, rows), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_of_all_modules_spoils_no_other_call(kind: str) -> None:
    backbone: Any = build(kind)
    rows, latents, embedder = (
        rows_of(backbone, "a cat"),
        noise(backbone, 1),
        backbone.pipeline.transformer.context_embedder,
    )
    expected = backbone.velocity(latents, 0.7, rows)
    hook = register_module_forward_pre_hook(lambda module, given: spoil(module, given) if module is embedder else None)
    try:
        spoiled = [backbone.velocity(latents, 0.7, rows) for _ in range(2)]
    finally:
        hook.remove()
    assert torch.equal(*spoiled) and not torch.equal(spoiled[0], expected)
    assert torch.equal(backbone.velocity(latents, 0.7, rows), expected)


def test_a_family_that_writes_into_its_prompts_gets_them_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone: Any = build("flux")
    rows, latents, plain = rows_of(backbone, "a cat"), noise(backbone, 1), type(backbone).predict

    def predict(self: Any, latents: torch.Tensor, sigma: float, batch: Any) -> torch.Tensor:
        self.conditioning(batch, "pooled_prompt_embeds").mul_(0.5)
        return plain(self, latents, sigma, batch)

    monkeypatch.setattr(type(backbone), "predict", predict)
    assert torch.equal(*(backbone.velocity(latents, 0.7, rows) for _ in range(2)))


def test_a_part_of_a_batch_and_a_call_that_failed_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone: Any = build("flux")
    rows, latents, seen = rows_of(backbone, "a cat", "a dog"), noise(backbone, 2), list[Any]()

    def predict(self: Any, latents: torch.Tensor, sigma: float, batch: Any) -> torch.Tensor:
        seen.append(batch)
        kept = [
            self.once(part, "number", lambda: torch.ones(1, dtype=torch.float32, device="cpu"))
            for part in (batch, batch)
        ]
        other = self.once(batch[:1], "number", lambda: torch.zeros(1, dtype=torch.float32, device="cpu"))
        assert kept[0] is kept[1] and not other
        raise KeyboardInterrupt

    monkeypatch.setattr(type(backbone), "predict", predict)
    with pytest.raises(KeyboardInterrupt):
        backbone.velocity(latents, 0.7, rows)
    assert not backbone.once(seen[0], "number", lambda: torch.zeros(1, dtype=torch.float32, device="cpu")), (
        "after the call"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_code_of_others_gets_tensors_of_its_own_at_each_call(kind: str, made: list[str]) -> None:
    backbone: Any = build(kind)
    rows, latents = rows_of(backbone, "a cat", guidance=3.0), noise(backbone, 1)
    backbone.pipeline.transformer.register_forward_hook(lambda *_: None)
    assert backbone.device.type == "cpu", "what a run asks first"
    for number in (1, 2, 3):
        backbone.velocity(latents, 0.7, rows)
        assert len(made) == number * len(set(made)), "none is kept"


@pytest.mark.parametrize("kind", KINDS)
def test_a_listener_may_change_the_text_without_changing_the_next_call(kind: str) -> None:
    class Zero(Plain):
        def text(self, stream: Any) -> torch.Tensor:
            return super().text(stream) * 0

    backbone: Any = build(kind)
    rows, latents = rows_of(backbone, "a cat", guidance=3.0), noise(backbone, 1)
    expected = backbone.velocity(latents, 0.7, rows)
    with backbone.attach(Zero()):
        assert not torch.equal(backbone.velocity(latents, 0.7, rows), expected)
    assert torch.equal(backbone.velocity(latents, 0.7, rows), expected)
