"""Build small FLUX.2 models for the conformance kit."""

from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from headrouter_diffusers import autoencoder
from headrouter_diffusers.testing import byte_tokenizer, ready, stock, subject
from torch import Tensor
from torch.nn.functional import pixel_unshuffle
from transformers import (
    LlavaProcessor,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MistralConfig,
    PixtralImageProcessorPil,
    PixtralVisionConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from headrouter.imaging.picture import to_picture
from headrouter.testing import BackboneSubject, Generation
from headrouter_flux2.parameters import Flux2Parameters, KleinParameters

_WIDTH, _LENGTH = 16, 64
_LAYERS = {
    "intermediate_size": _WIDTH,
    "hidden_size": _WIDTH,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}


def tiny_flux2(seed: int = 0) -> Any:
    """Return a pipeline of dev with 2 dual and 2 single blocks of 4 heads; one text token for each byte.

    Its processor is another than the released one, which cannot be imported without torchvision; both share the code for text.
    """
    tokenizer = byte_tokenizer(padding_side="left", bos_token="<|endoftext|>")
    message = "{% for part in message.content %}{{ part.text }}{% endfor %}"
    template = f"{{{{ bos_token }}}}{{% for message in messages %}}<|im_start|>{message}<|im_end|>{{% endfor %}}"
    text = MistralConfig(vocab_size=len(tokenizer), num_hidden_layers=31, **_LAYERS)
    vision = PixtralVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, head_dim=8
    )
    processor = LlavaProcessor(PixtralImageProcessorPil(), tokenizer, chat_template=template)
    pipeline = Flux2Pipeline(
        text_encoder=Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=vision)),
        tokenizer=processor,
        **_pictures(guidance_embeds=True),
    )
    pipeline.system_message = "Draw."
    return _ready(pipeline, seed)


def tiny_klein(distilled: bool = False, *, seed: int = 0) -> Any:
    """Return a pipeline of klein, base or distilled, with 2 dual and 2 single blocks of 4 heads."""
    tokenizer = byte_tokenizer(padding_side="right")
    begin, end = "<|im_start|>", "<|im_end|>"
    message = f"{begin}{{{{ message.role }}}}\n{{{{ message.content }}}}{end}\n"
    tokenizer.chat_template = f"{{% for message in messages %}}{message}{{% endfor %}}{begin}"
    text = Qwen3Config(vocab_size=len(tokenizer), num_hidden_layers=28, **_LAYERS)
    pipeline = Flux2KleinPipeline(
        text_encoder=Qwen3ForCausalLM(text),
        tokenizer=tokenizer,
        is_distilled=distilled,
        **_pictures(guidance_embeds=False),
    )
    return _ready(pipeline, seed)


def _pictures(guidance_embeds: bool) -> dict[str, Any]:
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        "vae": AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(4, 8, 8),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=2,
        ),
        "transformer": Flux2Transformer2DModel(
            in_channels=16,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=4,
            joint_attention_dim=3 * _WIDTH,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=guidance_embeds,
        ),
    }


def _ready(pipeline: Any, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    pipeline.vae.bn.running_mean.copy_(torch.randn(16, generator=generator, dtype=torch.float32, device="cpu"))
    pipeline.vae.bn.running_var.copy_(torch.rand(16, generator=generator, dtype=torch.float32, device="cpu") + 0.2)
    pipeline.image_processor.check_image_input = lambda picture: picture  # which wants 64 pixels a side
    return ready(pipeline, seed)


def subjects() -> list[BackboneSubject]:
    """Return a small dev."""
    parameters = Flux2Parameters(max_sequence_length=_LENGTH)
    return [subject("flux2", lambda: parameters.load("tiny", tiny_flux2()), reference)]


def subjects_of_klein() -> list[BackboneSubject]:
    """Return a small klein, base and distilled."""
    parameters = KleinParameters(max_sequence_length=_LENGTH)
    return [
        subject("flux2-klein", lambda: parameters.load("tiny", tiny_klein()), reference),
        subject("flux2-klein-distilled", lambda: parameters.load("tiny", tiny_klein(distilled=True)), reference),
    ]


def reference(backbone: Any, asked: Generation) -> Tensor:
    """Return the latents that the stock pipeline generates, which gives those of klein as its autoencoder takes them."""
    pipeline, length = backbone.pipeline, {"max_sequence_length": backbone.parameters.max_sequence_length}
    given: dict[str, Any] = {**length, "image": [to_picture(picture[0]) for picture in asked.pictures] or None}
    if not backbone.guided:
        generated = stock(backbone, asked, guidance_scale=asked.guidance, **given)
    else:
        negative, _ = pipeline.encode_prompt(asked.negative, **length)
        generated = stock(backbone, asked, guidance_scale=asked.guidance, negative_prompt_embeds=negative, **given)
    if asked.output == "picture":
        return generated
    if generated.ndim == 3:
        stride = backbone.latent_stride
        return generated.mT.reshape(1, -1, asked.height // stride, asked.width // stride)
    mean, deviation = autoencoder.batch_statistics(pipeline.vae)
    return (pixel_unshuffle(generated, 2) - mean) / deviation
