"""A backbone's pictures, sizes and time grid."""

import torch

from headrouter.testing.check import check, collect, expect
from headrouter.testing.probe import distance, latents_of, oblong, square
from headrouter.testing.subjects import BackboneSubject


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


@check(since="0.1")
def the_time_grid_falls_to_zero(subject: BackboneSubject) -> None:
    """`sigmas(n, ...)` is n + 1 falling float64 numbers on the CPU, from at most 1 to exactly 0.

    If this fails: noise levels are between 0 and 1 here, whatever the model's own time is; append the final 0.
    """
    backbone = subject.build()
    for steps in (1, 4, 7):
        grid = backbone.sigmas(steps, *oblong(backbone))
        expect(tuple(grid.shape) == (steps + 1,), f"the grid of {steps} steps has shape {tuple(grid.shape)}")
        expect(grid.dtype == torch.float64, f"the grid is {grid.dtype}")
        expect(grid.device.type == "cpu", f"the grid is on {grid.device}")
        expect(float(grid[-1]) == 0, f"the grid ends at {float(grid[-1])}")
        expect(0.5 < float(grid[0]) <= 1, f"the grid begins at {float(grid[0])}")
        expect(bool((grid.diff() < 0).all()), "the grid does not fall")


@check(since="0.1")
def the_backbone_describes_itself(subject: BackboneSubject) -> None:
    """Name, defaults and capability words are there, and the words are true.

    If this fails: `single-stream` is provided when a site is of that stream, `prompt-words` when prompts carry tokens.
    """
    backbone = subject.build()
    defaults = backbone.defaults
    expect(bool(backbone.name), "`name` is empty")
    expect(defaults.steps >= 1 and defaults.area > 0 and defaults.guidance >= 0, f"the defaults are {defaults}")
    singles = any(site.stream == "single" for site in backbone.sites)
    expect(("single-stream" in backbone.provides) == singles, f"`single-stream` is {'not ' * singles}provided wrongly")
    words = bool(backbone.encode_prompts(["a cat"])[0].tokens)
    expect(("prompt-words" in backbone.provides) == words, f"`prompt-words` and tokens of a prompt ({words}) disagree")
    expect("joint-attention" in backbone.provides, "`joint-attention` is not provided")


CHECKS = collect(globals())
