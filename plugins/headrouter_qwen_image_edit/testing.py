"""Build small Qwen-Image-Edit models for the conformance kit."""

from typing import Any
from unittest.mock import patch

import headrouter_diffusers.quiet  # noqa: F401
from diffusers import QwenImageEditPipeline, QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus
from headrouter_diffusers.packing import unpack
from headrouter_diffusers.testing import byte_tokenizer, ready, stock, subject
from headrouter_qwen_image.testing import tiny_qwen_image
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor, Qwen2VLImageProcessorPil

from headrouter.imaging.picture import to_picture
from headrouter.testing import BackboneSubject, Generation
from headrouter_qwen_image_edit.parameters import EditParameters, EditPlusParameters

_SIDE = 56


def tiny_qwen_image_edit(plus: bool = False, *, seed: int = 0) -> Any:
    """Return a pipeline with 2 blocks of 4 heads; one token for each byte, four for each picture.

    Its processor is put together by hand, since its class makes a reader of films too, which needs torchvision.
    """
    plain = tiny_qwen_image()
    tokenizer, config = byte_tokenizer(), plain.text_encoder.config
    tokenizer.add_tokens(["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"], special_tokens=True)
    config.text_config.vocab_size = len(tokenizer)
    for name in ("vision_start", "vision_end", "image", "video"):
        token = f"<|{name}|>" if name.startswith("vision") else f"<|{name}_pad|>"
        setattr(config, f"{name}_token_id", tokenizer.convert_tokens_to_ids(token))
    processor = object.__new__(Qwen2_5_VLProcessor)
    processor.tokenizer, processor.video_processor, processor.chat_template = tokenizer, None, None
    size = {"shortest_edge": _SIDE**2, "longest_edge": _SIDE**2}
    processor.image_processor = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size=size)
    for name in ("image", "video"):
        setattr(processor, f"{name}_token", f"<|{name}_pad|>")
        setattr(processor, f"{name}_token_id", getattr(config, f"{name}_token_id"))
    parts = {**plain.components, "text_encoder": Qwen2_5_VLForConditionalGeneration(config), "tokenizer": tokenizer}
    pipeline = (QwenImageEditPlusPipeline if plus else QwenImageEditPipeline)(**parts, processor=processor)
    before, picture = "<|im_start|>user\n", "" if plus else "<|vision_start|><|image_pad|><|vision_end|>"
    pipeline.prompt_template_encode = f"{before}{picture}{{}}<|im_end|>\n<|im_start|>assistant\n"
    pipeline.prompt_template_encode_start_idx = len(tokenizer(before)["input_ids"])
    return ready(pipeline, seed)


def reference(backbone: Any, asked: Generation) -> Tensor:
    """Return the latents, or the picture, that the stock pipeline generates, with pictures in the sizes that they have."""
    pictures = [to_picture(one[0]) for one in asked.pictures]
    guidance = {"true_cfg_scale": asked.guidance, "negative_prompt": asked.negative if asked.guidance > 1 else None}
    plus, sizes = backbone.most_references > 1, {one.width / one.height: one.size for one in pictures}
    module: Any = pipeline_qwenimage_edit_plus if plus else pipeline_qwenimage_edit
    whole = module.calculate_dimensions

    def dimensions(area: int, ratio: float) -> Any:
        if not plus:
            return *sizes[ratio], None
        return sizes[ratio] if area == module.VAE_IMAGE_SIZE else whole(area, ratio)

    seen = backbone.parameters.condition_area if plus else 0
    with (
        patch.object(module, "calculate_dimensions", dimensions),
        patch.object(module, "CONDITION_IMAGE_SIZE", seen, create=not plus),
    ):
        generated = stock(backbone, asked, image=pictures if plus else pictures[0], **guidance)
    if asked.output == "picture":
        return generated
    factor = backbone.pipeline.vae_scale_factor
    return unpack(generated, asked.height // factor, asked.width // factor)


def subjects() -> list[BackboneSubject]:
    """Return the small model of one picture, against its stock pipeline."""
    parameters = EditParameters(max_sequence_length=40)
    return [subject("qwen-image-edit", lambda: parameters.load("tiny", tiny_qwen_image_edit()), reference)]


def subjects_of_plus() -> list[BackboneSubject]:
    """Return the small model of several pictures, against its stock pipeline."""
    parameters = EditPlusParameters(max_sequence_length=40, condition_area=_SIDE**2)
    return [subject("qwen-image-edit-plus", lambda: parameters.load("tiny", tiny_qwen_image_edit(True)), reference)]
