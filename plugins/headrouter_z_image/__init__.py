"""Register Z-Image."""

from collections.abc import Callable

from headrouter.plugins.specifications import BackboneSpec, Model, hookimpl

headrouter_api = 1

RELEASED = ("Tongyi-MAI/Z-Image-Turbo", "Tongyi-MAI/Z-Image")


@hookimpl
def register_backbones(register: Callable[[BackboneSpec], None]) -> None:
    """Register Z-Image."""
    register(
        BackboneSpec(
            name="z-image",
            target="headrouter_z_image.parameters:ZImageParameters",
            default_model="base",
            testing="headrouter_z_image.testing:subjects",
            provides={
                "joint-attention",
                "text-stream",
                "single-stream",
                "prompt-words",
                "guidance",
                "negative-prompt",
                "encode-image",
            },
            summary="Z-Image: image, then text, each filled up to a multiple of 32; single blocks alone.",
        )
    )


@hookimpl
def register_models(register: Callable[[Model], None]) -> None:
    """Register the released weights; guidance counts from 1, which is 0 for their own pipeline."""
    area = 1024 * 1024
    register(
        Model(
            name="base",
            backbone="z-image",
            source=RELEASED[1],
            steps=50,
            guidance=5.0,
            area=area,
            licence="Apache-2.0",
            summary="6 billion parameters, not distilled.",
            facts="headrouter_z_image:released.json",
        )
    )
    register(
        Model(
            name="turbo",
            backbone="z-image",
            source=RELEASED[0],
            steps=8,
            guidance=1.0,
            area=area,
            licence="Apache-2.0",
            summary="6 billion parameters, distilled to 8 steps without guidance.",
            facts="headrouter_z_image:released.json",
        )
    )


@hookimpl
def identify_backbone(model_index: dict[str, object]) -> str | None:
    """Identify pipelines of Z-Image."""
    return "z-image" if model_index.get("_class_name") == "ZImagePipeline" else None
