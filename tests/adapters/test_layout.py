"""Which positions of the joint sequence are which words and which patches, told by perturbing one of them."""

from dataclasses import replace

import pytest
import torch

from .conftest import Plain, build, noise, rows_of


def first_keys(backbone, latents, rows):
    """Keys and layout at the first joint site."""
    listener = Plain()
    with backbone.attach(listener):
        backbone.velocity(latents, 0.7, rows)
    return listener.events[0].key, listener.events[0].layout


def changed(one, other):
    """Positions of the sequence at which keys differ."""
    return sorted(set((one != other).any(dim=(0, 1, 3)).nonzero().flatten().tolist()))


@pytest.mark.parametrize("position", [0, 3, -1])
def test_a_text_token_is_the_key_at_its_position(backbone, position):
    rows, latents = rows_of(backbone, "a cat", guidance=1.0), noise(backbone)
    keys, layout = first_keys(backbone, latents, rows)
    embeds = rows[0].prompt.tensors["prompt_embeds"].clone()
    embeds[0, position] += 1
    tensors = {**rows[0].prompt.tensors, "prompt_embeds": embeds}
    perturbed, _ = first_keys(backbone, latents, [replace(rows[0], prompt=replace(rows[0].prompt, tensors=tensors))])
    length = embeds.shape[1]
    assert changed(keys, perturbed) == [layout.text.start + position % length]
    assert layout.text.stop - layout.text.start == length


@pytest.mark.parametrize("patch", [(0, 0), (0, 5), (2, 1), (3, 5)])
def test_an_image_patch_is_the_key_at_its_place_of_the_grid(backbone, patch):
    rows, latents = rows_of(backbone, "a cat", guidance=1.0), noise(backbone, width=48, height=32)
    keys, layout = first_keys(backbone, latents, rows)
    assert layout.grid == (4, 6)
    row, column = patch
    perturbed = latents.clone()
    perturbed[..., 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 1
    assert changed(keys, first_keys(backbone, perturbed, rows)[0]) == [layout.image.start + 6 * row + column]


def test_the_layout(backbone):
    rows, latents = rows_of(backbone, "a cat"), noise(backbone)
    _, layout = first_keys(backbone, latents, rows)
    if "single-stream" in backbone.provides:
        assert (layout.text, layout.image) == (slice(0, 24), slice(24, 48))
        assert layout.segments == (("t5", 24),)
    else:
        assert (layout.image, layout.text) == (slice(0, 24), slice(24, 24 + 77 + 24))
        assert layout.segments == (("clip", 77), ("t5", 24))


@pytest.mark.parametrize("kind", ["flux", "sd3.5-medium"])
def test_probabilities_are_those_of_the_softmax_over_the_whole_sequence(kind):
    backbone, listener = build(kind), Plain()
    rows = rows_of(backbone, "a cat", "a dog")
    with backbone.attach(listener):
        backbone.velocity(noise(backbone, 2), 0.7, rows)
    for event in listener.events:
        weights = (event.query @ event.key.mT * event.scale).softmax(-1)
        joint = weights[:, :, event.layout.image, event.layout.text]
        for row in range(len(event.rows)):
            for positions in ((1, 2), (0, 5, 23)):
                ((_, block),) = event.text_to_image(row, positions)
                torch.testing.assert_close(block, joint[row][..., list(positions)], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(event.attend(), weights @ event.value, rtol=1e-4, atol=1e-5)


def test_the_text_stream_is_what_the_block_takes(backbone):
    rows, latents = rows_of(backbone, "a cat", guidance=1.0), noise(backbone)

    class Swapped(Plain):
        def text(self, stream):
            super().text(stream)
            return stream.hidden.flip(1) if stream.site.index == 1 else stream.hidden

    plain, swapped = Plain(), Swapped()
    for listener in (plain, swapped):
        with backbone.attach(listener):
            backbone.velocity(latents, 0.7, rows)
    assert torch.equal(plain.streams[1].hidden, swapped.streams[1].hidden)
    one, other = plain.events[1], swapped.events[1]
    text, image = one.layout.text, one.layout.image
    for name in ("query", "key", "value"):  # text has no positions of its own in either model, not even in Flux
        first, second = getattr(one, name), getattr(other, name)
        assert not torch.allclose(first[:, :, text], first[:, :, text].flip(2), rtol=1e-2)
        torch.testing.assert_close(second[:, :, text], first[:, :, text].flip(2), rtol=1e-5, atol=1e-5)
        assert torch.equal(first[:, :, image], second[:, :, image])
