"""Register Stable Diffusion 3 and 3.5."""

from collections.abc import Callable

from headrouter.plugins.specifications import BackboneSpec, Model, hookimpl

headrouter_api = 1

_HUB = "stabilityai/stable-diffusion-3"
RELEASED = {"sd3": (f"{_HUB}-medium-diffusers",), "sd3.5": (f"{_HUB}.5-medium", f"{_HUB}.5-large")}

_PROVIDES = frozenset({"joint-attention", "text-stream", "prompt-words", "guidance", "negative-prompt", "encode-image"})
_LICENCE = "Stability AI Community License"


@hookimpl
def register_backbones(register: Callable[[BackboneSpec], None]) -> None:
    """Register SD3 and SD3.5."""
    register(
        BackboneSpec(
            name="sd3",
            target="headrouter_sd3.parameters:SD3Parameters",
            testing="headrouter_sd3.testing:subjects",
            default_model="medium",
            provides=_PROVIDES,
            summary="Stable Diffusion 3: dual blocks; image first; classifier-free guidance.",
        )
    )
    register(
        BackboneSpec(
            name="sd3.5",
            target="headrouter_sd3.parameters:SD35Parameters",
            testing="headrouter_sd3.testing:subjects_35",
            aliases=("sd35",),
            default_model="medium",
            provides=_PROVIDES | {"image-attention"},
            summary="Stable Diffusion 3.5: as 3, with normalised queries and keys; medium has image-only attention beside.",
        )
    )


@hookimpl
def register_models(register: Callable[[Model], None]) -> None:
    """Register the released weights."""
    area = 1024 * 1024
    for name, backbone, source, steps, guidance, word_blocks, summary in (  # the blocks: arXiv:2508.07519
        ("medium", "sd3", RELEASED["sd3"][0], 28, 7.0, (7, 8, 5, 4, 9), "2 billion parameters."),
        (
            "medium",
            "sd3.5",
            RELEASED["sd3.5"][0],
            28,
            4.5,
            (7, 9, 8, 5, 10),
            "2.5 billion parameters, image-only attention in the first blocks.",
        ),
        ("large", "sd3.5", RELEASED["sd3.5"][1], 28, 3.5, (18, 21, 20, 24, 16), "8 billion parameters."),
        (
            "turbo",
            "sd3.5",
            f"{_HUB}.5-large-turbo",
            4,
            1.0,
            (18, 21, 20, 24, 16),
            "8 billion parameters, distilled to few steps.",
        ),
    ):
        register(
            Model(
                name,
                backbone,
                source,
                steps,
                guidance,
                area,
                _LICENCE,
                gated=True,
                summary=summary,
                word_blocks=word_blocks,
                facts="headrouter_sd3:released.json",
            )
        )


@hookimpl
def identify_backbone(model_index: dict[str, object]) -> str | None:
    """Identify pipelines of SD3; 3 and 3.5 look alike there, and the same code drives both."""
    return "sd3.5" if model_index.get("_class_name") == "StableDiffusion3Pipeline" else None
