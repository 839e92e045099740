"""What is particular to Z-Image: learnt padding on both streams, and guidance that may not lengthen a velocity."""

import pytest
import torch
from headrouter_z_image.parameters import ZImageParameters
from headrouter_z_image.testing import reference, tiny_z_image

from headrouter import Editor
from headrouter.errors import IncompatibleError
from headrouter.methods.head_router.text_mixing import TextMixing
from headrouter.testing import Generation
from headrouter.testing.probe import euler, recorded, rows_of


def build(**parameters):
    return ZImageParameters(max_sequence_length=96, **parameters).load("tiny", tiny_z_image())


def noise(backbone, rows):
    shape = (rows, *backbone.latent_shape(48, 32))
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_image_and_text_are_filled_up_to_multiples_of_32():
    backbone = build()
    rows = rows_of(backbone, "a cat", "a photo of the red dog that says hello", guidance=1.0)
    short, long = (row.prompt.length for row in rows)
    events = recorded(backbone, noise(backbone, 2), rows).events
    layout = events[0].layout
    assert short < long and -(-short // 32) < -(-long // 32), "one has a piece of 32 more than the other"
    assert (layout.image, layout.text) == (slice(0, 24), slice(32, 32 + long))
    assert layout.padding == (slice(24, 32), slice(32 + long, layout.length)) and layout.length % 32 == 0
    [own] = [event.tokens_of(0, 1).tolist() for event in events[:1]]
    assert own == [*range(24), *range(32, 32 + short)]
    bias = events[0].bias
    assert bias[1].all() and bias[0].sum() == 32 + -(-short // 32) * 32, (
        "its own padding is attended to, the batch's is not"
    )


def test_own_tokens_do_not_depend_on_the_prompt_beside_it():
    backbone = build()
    rows = rows_of(backbone, "a cat", "a photo of the red dog that says hello", guidance=1.0)
    alone, beside = (recorded(backbone, noise(backbone, 2)[: len(some)], some).events[-1] for some in (rows[:1], rows))
    torch.testing.assert_close(
        alone.attend()[0][:, alone.tokens_of(0)], beside.attend()[0][:, beside.tokens_of(0)], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("normalises", [True, False])
def test_guidance_is_the_stock_pipelines(normalises):
    """Also where it may not make a velocity longer than the prompt alone makes it; in neither way is it the other."""
    backbone = build(cfg_normalization=normalises)
    asked = Generation("a cat", "red", 4.0, 1, 4, 32, 48)
    theirs, ours = reference(backbone, asked), euler(backbone, asked)
    other = reference(build(cfg_normalization=not normalises), asked)
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm() < 1e-3 * theirs.norm() < (ours - other).norm()


def test_text_is_not_mixed_where_no_block_is_dual():
    editor = Editor(build(), progress=False)
    with pytest.raises(
        IncompatibleError, match=r"`method\.rho` 0\.1 would have no effect.*Set `method\.text_blocks` to 'all'"
    ):
        editor.generate("a dog", steps=1, size=(48, 32), method=TextMixing())
    assert editor.generate("a dog", steps=1, size=(48, 32), method=TextMixing(text_blocks="all"))
