"""Pictures to latents and back, and sizes."""

import pytest
import torch
from headrouter_diffusers.testing import tiny_flux, tiny_sd3, tiny_sd35
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3.parameters import SD3Parameters, SD35Parameters

from headrouter.errors import InvalidInputError
from headrouter.models.backbone import Defaults

from .conftest import build


def pictures(count=2):
    return torch.rand(count, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_latents_are_the_scaled_mode(backbone):
    vae, pixels = backbone.pipeline.vae, pictures()
    latents = backbone.encode_image(pixels)
    posterior = vae.encode(pixels).latent_dist
    wanted = (posterior.mean - vae.config.shift_factor) * vae.config.scaling_factor
    assert latents.dtype == torch.float32
    assert latents.shape == (2, *backbone.latent_shape(48, 32))
    torch.testing.assert_close(latents, wanted, rtol=1e-4, atol=1e-5)


def test_decoding_undoes_the_scale(backbone):
    vae, latents = backbone.pipeline.vae, torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    decoded = backbone.decode(latents)
    wanted = vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor).sample
    assert decoded.shape == (2, 3, 32, 48)
    assert decoded.dtype == torch.float32
    torch.testing.assert_close(decoded, wanted, rtol=1e-4, atol=1e-4)


def test_an_autoencoder_without_shift():
    backbone = build("sd3")
    shifted = backbone.encode_image(pictures())
    vae = backbone.pipeline.vae
    offset = vae.config.shift_factor * vae.config.scaling_factor
    vae.register_to_config(shift_factor=None)
    torch.testing.assert_close(backbone.encode_image(pictures()), shifted + offset, rtol=1e-5, atol=1e-5)


def test_a_float16_autoencoder_computes_in_float32_and_stays_float16():
    pipeline = tiny_sd3()
    pipeline.vae.to(torch.float16)
    weights = {name: tensor.clone() for name, tensor in pipeline.vae.state_dict().items()}
    places = [weight.data_ptr() for weight in pipeline.vae.parameters()]
    backbone = SD3Parameters().load("tiny", pipeline)
    latents = backbone.encode_image(pictures())
    assert pipeline.vae.dtype == torch.float16
    assert places == [weight.data_ptr() for weight in pipeline.vae.parameters()]  # whoever holds a weight still does
    assert all(torch.equal(weights[name], tensor) for name, tensor in pipeline.vae.state_dict().items())
    exact = tiny_sd3()
    exact.vae.to(torch.float16).to(torch.float32)
    assert torch.equal(latents, SD3Parameters().load("tiny", exact).encode_image(pictures()))


def test_sizes(backbone):
    assert backbone.size_multiple == 8
    assert backbone.latent_shape(64, 32) == (4, 8, 16)
    for width, height in ((60, 32), (32, 4), (0, 32), (-8, 32)):
        with pytest.raises(InvalidInputError, match="multiple of 8"):
            backbone.latent_shape(width, height)
    with pytest.raises(InvalidInputError, match=r"`height`.*not 31"):
        backbone.encode_image(torch.zeros(1, 3, 31, 48))
    with pytest.raises(InvalidInputError, match="`steps`"):
        backbone.sigmas(0, 48, 32)


def test_sd3_knows_positions_up_to_a_size():
    backbone = build("sd3")
    assert backbone.latent_shape(96, 32) == (4, 8, 24)
    with pytest.raises(InvalidInputError, match="at most 96 pixels"):
        backbone.latent_shape(104, 32)


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        ("flux", Defaults(28, 3.5, 512 * 512)),
        ("flux-true", Defaults(28, 3.5, 512 * 512)),
        ("schnell", Defaults(4, 1.0, 512 * 512)),
        ("sd3", Defaults(28, 7.0, 64 * 64)),
        ("sd3.5-medium", Defaults(28, 4.5, 64 * 64)),
    ],
)
def test_defaults(kind, defaults):
    assert build(kind).defaults == defaults


def test_given_defaults_win():
    given = Defaults(4, 0.0, 123)
    assert FluxParameters().load("tiny", tiny_flux(), given).defaults is given
    assert SD3Parameters().load("tiny", tiny_sd3(), given).defaults is given


def test_capabilities(backbone):
    assert backbone.provides >= {"joint-attention", "text-stream", "prompt-words", "guidance", "encode-image"}
    assert ("single-stream" in backbone.provides) == ("flux" in backbone.name)
    assert "tiny" in backbone.name
    assert backbone.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("parameters", "make", "name"), [(SD3Parameters, tiny_sd3, "sd3"), (SD35Parameters, tiny_sd35, "sd3.5")]
)
def test_a_size_beyond_the_positions_is_refused_under_the_backbones_own_name(parameters, make, name):
    backbone = parameters().load("tiny", make())
    assert backbone.name == f"{name} (tiny)"
    with pytest.raises(InvalidInputError, match=rf"`size` 4096x32 is larger than {name} \(tiny\).*smaller `size`"):
        backbone.latent_shape(4096, 32)
