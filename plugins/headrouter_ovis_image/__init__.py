"""Register Ovis-Image."""

from collections.abc import Callable

from headrouter.plugins.specifications import BackboneSpec, Model, hookimpl

headrouter_api = 1

RELEASED = ("AIDC-AI/Ovis-Image-7B",)


@hookimpl
def register_backbones(register: Callable[[BackboneSpec], None]) -> None:
    """Register Ovis-Image."""
    register(
        BackboneSpec(
            name="ovis-image",
            target="headrouter_ovis_image.parameters:OvisImageParameters",
            default_model="7b",
            testing="headrouter_ovis_image.testing:subjects",
            provides={
                "joint-attention",
                "text-stream",
                "single-stream",
                "prompt-words",
                "guidance",
                "negative-prompt",
                "encode-image",
            },
            summary="Ovis-Image: dual blocks, then single ones; text first, 256 tokens of a chat; two-pass guidance.",
        )
    )


@hookimpl
def register_models(register: Callable[[Model], None]) -> None:
    """Register the released weights."""
    register(
        Model(
            name="7b",
            backbone="ovis-image",
            source=RELEASED[0],
            steps=50,
            guidance=5.0,
            area=1024 * 1024,
            licence="Apache-2.0",
            summary="7 billion parameters, made for lettering.",
            facts="headrouter_ovis_image:released.json",
        )
    )


@hookimpl
def identify_backbone(model_index: dict[str, object]) -> str | None:
    """Identify pipelines of Ovis-Image."""
    return "ovis-image" if model_index.get("_class_name") == "OvisImagePipeline" else None
