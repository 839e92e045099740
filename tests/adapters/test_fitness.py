"""Pipelines that lack a part, or have one that an edit cannot use, are refused by name."""

import pytest
import torch
from diffusers import AutoencoderTiny, FluxControlPipeline, FluxFillPipeline, FluxPipeline, FluxTransformer2DModel
from diffusers.models.attention_processor import SD3IPAdapterJointAttnProcessor2_0
from diffusers.models.transformers.transformer_flux import FluxIPAdapterAttnProcessor
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3.parameters import SD3Parameters

from headrouter.errors import HeadRouterError, IncompatibleError

from .folders import change


def refused(pipeline, match):
    parameters = FluxParameters() if type(pipeline).__name__.startswith("Flux") else SD3Parameters()
    with pytest.raises(HeadRouterError, match=match) as caught:
        parameters.load("tiny", pipeline)
    assert type(caught.value) is IncompatibleError
    assert "\n" not in str(caught.value)


PARTS = {
    tiny_flux: ("transformer", "vae", "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"),
    tiny_sd3: ("transformer", "vae", "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"),
}


@pytest.mark.parametrize(("build", "part"), [(build, part) for build, parts in PARTS.items() for part in parts])
def test_a_pipeline_without_a_part(build, part):
    pipeline = build()
    setattr(pipeline, part, None)
    refused(pipeline, rf"`pipeline` \(tiny\) has no '{part}', which a \w+Pipeline needs for an edit")


def test_t5_without_its_tokenizer():
    pipeline = tiny_sd3()
    pipeline.tokenizer_3 = None
    refused(pipeline, "has no 'tokenizer_3'")
    pipeline.text_encoder_3 = None
    SD3Parameters().load("tiny", pipeline)


@pytest.mark.parametrize("part", ["vae", "text_encoder", "text_encoder_2"])
def test_a_folder_saved_without_a_part(broken, part):
    change(broken / "model_index.json", **{part: [None, None]})
    with pytest.raises(IncompatibleError, match=f"`model` .* has no '{part}', which a StableDiffusion3Pipeline needs"):
        SD3Parameters(device="cpu").load(str(broken))


def wide(channels):
    """A Flux transformer that takes more channels than it gives: 6 times to fill in, twice to follow a picture."""
    config = {**tiny_flux().transformer.config, "in_channels": channels, "out_channels": 16}
    return FluxTransformer2DModel(**{name: value for name, value in config.items() if not name.startswith("_")})


@pytest.mark.parametrize(("kind", "channels"), [(FluxFillPipeline, 96), (FluxControlPipeline, 32)])
def test_weights_that_take_more_than_latents(kind, channels):
    parts = {name: part for name, part in tiny_flux().components.items() if part is not None}
    parts["transformer"] = wide(channels)
    refused(FluxPipeline(**parts), rf"takes {channels} channels and gives 16: it is made to fill in, or to follow")
    refused(kind(**parts), r"drives FluxPipeline\. Its transformer takes more than latents; use the text-to-image")


def test_a_transformer_and_an_autoencoder_of_two_models():
    pipeline = tiny_flux()
    pipeline.transformer = FluxTransformer2DModel.from_config({**pipeline.transformer.config, "in_channels": 64})
    refused(pipeline, "a transformer of 64 channels and an autoencoder of 4, of which 4 make one")


@pytest.mark.parametrize("build", [tiny_flux, tiny_sd3])
def test_a_tiny_autoencoder(build):
    pipeline = build()
    pipeline.vae = AutoencoderTiny(latent_channels=4)
    refused(pipeline, r"has a AutoencoderTiny as its 'vae'.*Use the AutoencoderKL of the model")


def test_a_compiled_autoencoder_is_taken():
    pipeline = tiny_flux()
    pipeline.vae = torch.compile(pipeline.vae, backend="eager")
    assert FluxParameters().load("tiny", pipeline).pipeline.vae is pipeline.vae


@pytest.mark.parametrize("build", [tiny_flux, tiny_sd3])
def test_an_ip_adapter(build):
    pipeline = build()
    name = "encoder_hid_proj" if build is tiny_flux else "image_proj"
    setattr(pipeline.transformer, name, torch.nn.Identity())
    refused(pipeline, r"carries an IP-Adapter.*`pipeline\.unload_ip_adapter\(\)`")
    setattr(pipeline.transformer, name, None)
    kind, sizes = (FluxIPAdapterAttnProcessor, (64, 32))
    if build is tiny_sd3:
        kind, sizes = SD3IPAdapterJointAttnProcessor2_0, (64, 16, 8, 32)
    pipeline.transformer.transformer_blocks[0].attn.processor = kind(*sizes)
    refused(pipeline, "carries an IP-Adapter")
    pipeline.unload_ip_adapter()
    (FluxParameters if build is tiny_flux else SD3Parameters)().load("tiny", pipeline)


@pytest.mark.parametrize(
    ("scale", "shift"),
    [(0, None), (None, None), ("1.5", None), (float("nan"), 0.0), (-1.5, 0.0), (1.5, "x"), (True, 0)],
)
def test_an_autoencoder_without_a_scale(scale, shift):
    pipeline = tiny_sd3()
    pipeline.vae.register_to_config(scaling_factor=scale, shift_factor=shift)
    refused(pipeline, "`scaling_factor` must be a number above 0 and `shift_factor` a number or none")


@pytest.mark.parametrize("values", [{"pad_token": None}, {"model_max_length": 1}, {"model_max_length": "77"}])
def test_a_tokenizer_that_cannot_pad(values):
    pipeline = tiny_sd3()
    for name, value in values.items():
        setattr(pipeline.tokenizer_3, name, value)
    refused(pipeline, "'tokenizer_3' that must have a padding token and a `model_max_length` of at least 2")


@pytest.mark.parametrize("side", [None, "128", -1, True, [128]])
def test_a_model_that_names_no_training_area(side):
    pipeline = tiny_sd3()
    pipeline.transformer.register_to_config(sample_size=side)
    assert SD3Parameters().load("tiny", pipeline).defaults.area == 0
