"""Rows: independent of each other, each under its own prompt and guidance."""

import pytest
import torch

from headrouter.attention.rows import Row

from .conftest import Plain, build, noise, rows_of


def close(one, other):
    assert (one - other).norm() <= 1e-5 * other.norm()


@pytest.mark.parametrize("kind", ["flux-true", "schnell", "sd3", "sd3.5-medium"])
def test_guidance_mixes_the_two_branches(kind):
    backbone = build(kind)
    prompt, negative = backbone.encode_prompts(["a cat", "the dog"])
    latents, listener = noise(backbone, 4), Plain()
    latents = latents[:1].expand(4, -1, -1, -1)
    rows = [Row(prompt, negative, guidance, edit=index or None) for index, guidance in enumerate((0.0, 1.0, 3.0, -0.5))]
    with backbone.attach(listener):
        got = backbone.velocity(latents, 0.7, rows)
    branches = [(item.index, item.cfg_branch) for item in listener.events[0].rows]
    assert branches == [
        (0, "unconditional"),
        (2, "unconditional"),
        (3, "unconditional"),
        (1, "conditional"),
        (2, "conditional"),
        (3, "conditional"),
    ]
    assert listener.events[0].query.shape[0] == 6
    alone = {p.text: backbone.velocity(latents[:1], 0.7, [Row(p, p, 1.0)])[0] for p in (prompt, negative)}
    conditional, unconditional = alone["a cat"], alone["the dog"]
    assert (conditional - unconditional).norm() > 0.01 * conditional.norm()
    for index, row in enumerate(rows):
        close(got[index], unconditional + row.guidance * (conditional - unconditional))


def test_embedded_guidance_is_each_rows_own_number():
    backbone = build("flux")
    prompt, negative = backbone.encode_prompts(["a cat", "the dog"])
    latents, listener = noise(backbone)[[0, 0]], Plain()
    with backbone.attach(listener):
        both = backbone.velocity(latents, 0.7, [Row(prompt, negative, 1.0), Row(prompt, negative, 5.0, edit=0)])
    assert [item.cfg_branch for item in listener.events[0].rows] == ["conditional", "conditional"]
    assert listener.events[0].rows[1].pair == 0
    assert (both[0] - both[1]).norm() > 1e-3 * both[0].norm()
    for index, guidance in enumerate((1.0, 5.0)):
        close(both[index], backbone.velocity(latents[:1], 0.7, [Row(prompt, prompt, guidance)])[0])


def test_true_guidance_tells_the_model_the_embedded_number():
    backbone = build("flux-true")
    embedded = build("flux")
    [prompt] = backbone.encode_prompts(["a cat"])
    latents = noise(backbone)
    close(
        backbone.velocity(latents, 0.7, [Row(prompt, prompt, 1.0)]),
        embedded.velocity(latents, 0.7, [Row(prompt, prompt, 2.5)]),
    )


def test_a_velocity_is_float32_and_one_call(backbone):
    calls = []
    handle = backbone.pipeline.transformer.register_forward_hook(lambda *_: calls.append(1))
    velocity = backbone.velocity(noise(backbone, 2), 1, rows_of(backbone, "a cat", "a dog"))
    handle.remove()
    assert calls == [1]
    assert velocity.dtype == torch.float32
    assert velocity.shape == (2, 4, 8, 12)
    assert not velocity.requires_grad
