"""Which positions of the joint sequence are which words and which patches, told by perturbing one of them."""

import pytest
import torch

from .conftest import Plain, build, noise, rows_of


def first_keys(backbone, latents, rows):
    """Keys and layout at the first joint site."""
    listener = Plain()
    with backbone.attach(listener):
        backbone.velocity(latents, 0.7, rows)
    return listener.events[0].key, listener.events[0].layout


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
    assert len(listener.events) == len(backbone.sites) > 0
    for event in listener.events:
        weights = (event.query @ event.key.mT * event.scale).softmax(-1)
        joint = weights[:, :, event.layout.image, event.layout.text]
        for row in range(len(event.rows)):
            for positions in ((1, 2), (0, 5, 23)):
                block = torch.cat([heads for _, heads in event.text_to_image(row, positions)])
                torch.testing.assert_close(block, joint[row][..., list(positions)], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(event.attend(), weights @ event.value, rtol=1e-4, atol=1e-5)
