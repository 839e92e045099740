"""Provide editors to compare with that are no composition of headrouter's parts: pipelines of diffusers, and any program."""

from collections.abc import Callable

from headrouter.plugins.specifications import EditorSpec, hookimpl

headrouter_api = 1

_EDITORS = {
    "instruct-pix2pix": ("instruct_pix2pix:InstructPix2Pix", "InstructPix2Pix, arXiv:2211.09800: by an instruction."),
    "leditspp": ("leditspp:LeditsPP", "LEDITS++ on Stable Diffusion 1 or 2, arXiv:2311.16711: by the target prompt."),
    "flux-kontext": ("flux_kontext:FluxKontext", "FLUX.1 Kontext, arXiv:2506.15742: by an instruction."),
    "qwen-image-edit": ("qwen_image_edit:QwenImageEdit", "Qwen-Image-Edit, arXiv:2508.02324: by an instruction."),
    "command": ("command:Command", "A program of your own, once for each edit."),
}


@hookimpl
def register_editors(register: Callable[[EditorSpec], None]) -> None:
    """Register the editors."""
    for name, (target, summary) in _EDITORS.items():
        register(EditorSpec(name, f"headrouter_editors.{target}", summary=summary))
