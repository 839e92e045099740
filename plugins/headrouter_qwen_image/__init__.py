"""Register Qwen-Image."""

from collections.abc import Callable

from headrouter.plugins.specifications import BackboneSpec, Model, hookimpl

headrouter_api = 1

RELEASED = ("Qwen/Qwen-Image", "Qwen/Qwen-Image-2512")


@hookimpl
def register_backbones(register: Callable[[BackboneSpec], None]) -> None:
    """Register Qwen-Image."""
    register(
        BackboneSpec(
            name="qwen-image",
            target="headrouter_qwen_image.parameters:QwenImageParameters",
            default_model="2512",
            testing="headrouter_qwen_image.testing:subjects",
            provides={"joint-attention", "text-stream", "prompt-words", "guidance", "negative-prompt", "encode-image"},
            summary="Qwen-Image: dual blocks; text first, as long as the prompt; guidance rescaled in each token.",
        )
    )


@hookimpl
def register_models(register: Callable[[Model], None]) -> None:
    """Register the released weights."""
    for name, source, summary in (
        ("2512", RELEASED[1], "20 billion parameters, December 2025."),
        ("first", RELEASED[0], "20 billion parameters, August 2025."),
    ):
        register(
            Model(
                name=name,
                backbone="qwen-image",
                source=source,
                steps=50,
                guidance=4.0,
                area=1328 * 1328,
                licence="Apache-2.0",
                summary=summary,
                facts="headrouter_qwen_image:released.json",
            )
        )


@hookimpl
def identify_backbone(model_index: dict[str, object]) -> str | None:
    """Identify pipelines of Qwen-Image."""
    return "qwen-image" if model_index.get("_class_name") == "QwenImagePipeline" else None
