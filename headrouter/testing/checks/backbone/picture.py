"""Check a backbone's pictures, sizes and time grid."""

from dataclasses import replace

import torch
from torch import Tensor

from headrouter.errors import HeadRouterError
from headrouter.testing.check import check, collect, expect
from headrouter.testing.probe import distance, encoded, latents_of, needed_pictures, oblong, square
from headrouter.testing.subjects import BackboneSubject, Generation


@check(since="0.1")
def decoding_gives_pictures(subject: BackboneSubject) -> None:
    """`decode` gives float32 pictures of the size that the latents belong to, one by one.

    If this fails: `latent_shape(width, height)` is (channels, rows, columns); pictures are [rows, 3, height, width].
    """
    backbone = subject.build()
    for width, height in (oblong(backbone), square(backbone)):
        latents = latents_of(backbone, 2, (width, height))
        pictures = backbone.decode(latents)
        expect(tuple(pictures.shape) == (2, 3, height, width), f"pictures are {tuple(pictures.shape)}")
        expect(pictures.dtype == torch.float32, f"pictures are {pictures.dtype}")
        off = distance(backbone.decode(latents[1:])[0], pictures[1])
        expect(off < 1e-5, f"a picture depends on the one decoded beside it ({off:.1e})")


@check(since="0.1", requires={"encode-image"})
def encoding_is_a_function_of_each_picture(subject: BackboneSubject) -> None:
    """`encode_image` gives float32 latents of `latent_shape`, the same each time, each picture for itself.

    If this fails: take the mode of the autoencoder's distribution, not a sample.
    """
    backbone = subject.build()
    width, height = oblong(backbone)
    pixels = (
        torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu")
        * 2
        - 1
    )
    state = torch.random.get_rng_state()
    latents = backbone.encode_image(pixels)
    expect(torch.equal(torch.random.get_rng_state(), state), "`encode_image` draws from the global random generator")
    expect(torch.equal(backbone.encode_image(pixels), latents), "the same picture has other latents from call to call")
    shape = (2, *backbone.latent_shape(width, height))
    expect(tuple(latents.shape) == shape, f"latents are {tuple(latents.shape)}, `latent_shape` says {shape[1:]}")
    expect(latents.dtype == torch.float32, f"latents are {latents.dtype}")
    off = distance(backbone.encode_image(pixels[1:])[0], latents[1])
    expect(off < 1e-5, f"a picture's latents depend on the one encoded beside it ({off:.1e})")


@check(since="0.2", requires={"reference-picture"})
def decoding_is_the_references(subject: BackboneSubject) -> None:
    """`decode` gives the reference's picture of the reference's own latents, to 1e-4.

    If this fails: look at `from_latents`: scale and shift or the statistics of channels, the order of the two, the order of
    patches. Sampling has no part in it.
    """
    backbone, reference = subject.build(), subject.reference
    assert reference is not None
    asked = Generation("a cat", "", 1.0, 1, 2, *oblong(backbone), pictures=needed_pictures(backbone))
    latents, wanted = reference(backbone, asked), reference(backbone, replace(asked, output="picture"))
    ours = (backbone.decode(latents) / 2 + 0.5).clamp(0, 1)
    expect(wanted.shape == ours.shape, f"the reference has {tuple(wanted.shape)}, `decode` gives {tuple(ours.shape)}")
    unclipped = (wanted > 0) & (wanted < 1)
    expect(
        bool(unclipped.any()), "the reference's picture is black and white alone: give the small model other weights"
    )
    off = float((ours - wanted).abs().max())
    expect(off <= 1e-4, f"of the same latents, `decode` gives a picture that is off by {off:.1e} from the reference's")


@check(since="0.2", requires={"stand-in", "encode-image"})
def encoding_undoes_decoding(subject: BackboneSubject) -> None:
    """With an autoencoder that loses nothing, `encode_image` after `decode` gives the latents, to 1e-5.

    If this fails: `to_latents` and `from_latents` must be inverses: x = (z − shift) · scale and z = x / scale + shift, or
    x = (z − mean) / deviation and z = x · deviation + mean; patches must be made and undone in one order.
    """
    backbone = subject.build()
    assert subject.stand_in is not None
    latents = latents_of(backbone, 2)
    with subject.stand_in(backbone):
        back = backbone.encode_image(backbone.decode(latents))
    expect(back.shape == latents.shape, f"latents are {tuple(latents.shape)}, and come back as {tuple(back.shape)}")
    off = distance(back, latents)
    expect(off <= 1e-5, f"latents that are decoded and encoded again are off by {off:.1e}{_difference(back, latents)}")


def _difference(back: Tensor, latents: Tensor) -> str:
    """Say how latents come back: in another order, or scaled and shifted by channel."""
    one, other = back.transpose(0, 1).flatten(1).double(), latents.transpose(0, 1).flatten(1).double()
    if torch.allclose(one.flatten().sort().values, other.flatten().sort().values, atol=1e-4):
        return ": the values are right and in another order, look at patches"
    centred = other - other.mean(1, keepdim=True)
    factor = (one * centred).sum(1) / (other * centred).sum(1)
    shift = (one - factor[:, None] * other).mean(1)
    if not torch.allclose(factor[:, None] * other + shift[:, None], one, atol=1e-3 * float(one.std())):
        return ": not by a scale and a shift of each channel, look at the order of channels and patches"
    scaled, shifted = not torch.allclose(factor, torch.ones_like(factor), atol=1e-4), bool((shift.abs() > 1e-4).any())
    parts = [
        f"{what} by {_numbers(values)}"
        for what, values, wrong in (("scaled", factor, scaled), ("shifted", shift, shifted))
        if wrong
    ]
    return f": they are {' and '.join(parts)}"


def _numbers(values: Tensor) -> str:
    return (
        f"{float(values[0]):.3g}"
        if torch.allclose(values, values[:1])
        else f"another number in each channel ({[round(float(v), 3) for v in values[:4]]} …)"
    )


@check(since="0.1")
def the_time_grid_falls_to_zero(subject: BackboneSubject) -> None:
    """`sigmas(n, ...)` is n + 1 falling float64 numbers on the CPU, from at most 1 to exactly 0.

    If this fails: noise levels are between 0 and 1 here, whatever the model's own time is; append the final 0.
    """
    backbone = subject.build()
    for steps in (1, 4, 7):
        try:
            grid = backbone.sigmas(steps, *oblong(backbone))
        except HeadRouterError:
            expect(steps == 1, f"{steps} steps are refused")
            continue  # a schedule that is stretched between its first and last level needs two
        expect(tuple(grid.shape) == (steps + 1,), f"the grid of {steps} steps has shape {tuple(grid.shape)}")
        expect(grid.dtype == torch.float64, f"the grid is {grid.dtype}")
        expect(grid.device.type == "cpu", f"the grid is on {grid.device}")
        expect(float(grid[-1]) == 0, f"the grid ends at {float(grid[-1])}")
        expect(0.5 < float(grid[0]) <= 1, f"the grid begins at {float(grid[0])}")
        expect(bool((grid.diff() < 0).all()), "the grid does not fall")


@check(since="0.1")
def the_backbone_describes_itself(subject: BackboneSubject) -> None:
    """Name, defaults and capability words are there, and the words are true.

    If this fails: `single-stream` is provided when a site is of that stream, `prompt-words` when prompts carry tokens,
    `reference-pictures` when `most_references` is not 0.
    """
    backbone = subject.build()
    defaults = backbone.defaults
    expect(bool(backbone.name), "`name` is empty")
    expect(defaults.steps >= 1 and defaults.area > 0 and defaults.guidance >= 0, f"the defaults are {defaults}")
    singles = any(site.stream == "single" for site in backbone.sites)
    expect(("single-stream" in backbone.provides) == singles, f"`single-stream` is {'not ' * singles}provided wrongly")
    words = bool(encoded(backbone, "a cat")[0].tokens)
    expect(("prompt-words" in backbone.provides) == words, f"`prompt-words` and tokens of a prompt ({words}) disagree")
    takes = backbone.most_references > 0
    expect(
        ("reference-pictures" in backbone.provides) == takes,
        f"`reference-pictures` and `most_references` ({backbone.most_references}) disagree",
    )
    expect(
        takes or "instructions" not in backbone.provides, "`instructions` are of a model that takes reference pictures"
    )
    expect("joint-attention" in backbone.provides, "`joint-attention` is not provided")


CHECKS = collect(globals())
