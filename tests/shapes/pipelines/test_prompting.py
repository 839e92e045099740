"""Training and evaluation see exactly what the stock pipelines see."""

import pytest
import torch
from diffusers import FluxPipeline
from headrouter_shapes.pipelines.build import BACKBONES, ShapesPipeline
from headrouter_shapes.pipelines.prompting import encode_prompts
from headrouter_shapes.pipelines.sampling import integrate
from headrouter_shapes.pipelines.tokenizer import PROMPT_TOKENS

PROMPTS = ["a large striped blue star in the center, filled, on a white background", "two dragons", ""]


@pytest.mark.parametrize("backbone", BACKBONES)
@torch.no_grad()
def test_prompts_are_encoded_as_the_pipeline_does(backbone: str, lively: dict[str, ShapesPipeline]) -> None:
    pipeline = lively[backbone]
    ours = encode_prompts(pipeline, PROMPTS)
    if isinstance(pipeline, FluxPipeline):
        hidden, pooled, _ = pipeline.encode_prompt(PROMPTS, max_sequence_length=PROMPT_TOKENS)
        tokens = PROMPT_TOKENS
    else:
        hidden, _, pooled, _ = pipeline.encode_prompt(
            PROMPTS, None, None, do_classifier_free_guidance=False, max_sequence_length=PROMPT_TOKENS
        )
        tokens = 2 * PROMPT_TOKENS
    assert ours.hidden.shape[1] == tokens
    torch.testing.assert_close(ours.hidden, hidden)
    torch.testing.assert_close(ours.pooled, pooled)
    assert not torch.allclose(hidden[0], hidden[2])


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("backbone", BACKBONES)
@torch.no_grad()
def test_euler_steps_are_the_pipelines_own(backbone: str, guidance: float, lively: dict[str, ShapesPipeline]) -> None:
    pipeline = lively[backbone]
    noise = torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    ours = integrate(pipeline, noise, PROMPTS[:1], steps=3, guidance=guidance)
    common = {
        "prompt": PROMPTS[0],
        "num_inference_steps": 3,
        "height": 64,
        "width": 64,
        "output_type": "latent",
        "max_sequence_length": PROMPT_TOKENS,
    }
    if isinstance(pipeline, FluxPipeline):
        packed = FluxPipeline._pack_latents(noise, 1, 16, 16, 16)
        result = pipeline(**common, latents=packed, true_cfg_scale=guidance, negative_prompt="").images
        theirs = FluxPipeline._unpack_latents(result, 64, 64, pipeline.vae_scale_factor)
    else:
        theirs = pipeline(**common, latents=noise, guidance_scale=guidance).images
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert (ours - noise).abs().max() > 0.1
