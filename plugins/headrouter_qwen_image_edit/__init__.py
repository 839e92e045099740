"""Register Qwen-Image-Edit, and its later versions, which take several pictures."""

from collections.abc import Callable

from headrouter.plugins.specifications import BackboneSpec, Model, hookimpl

headrouter_api = 1

RELEASED: tuple[str, ...] = ("Qwen/Qwen-Image-Edit",)
RELEASED_PLUS: tuple[str, ...] = ("Qwen/Qwen-Image-Edit-2511", "Qwen/Qwen-Image-Edit-2509")

_PROVIDES = frozenset(
    {
        "joint-attention",
        "text-stream",
        "prompt-words",
        "guidance",
        "negative-prompt",
        "encode-image",
        "reference-pictures",
        "instructions",
    }
)


@hookimpl
def register_backbones(register: Callable[[BackboneSpec], None]) -> None:
    """Register both pipelines."""
    for name, kind, subjects, default, summary in (
        ("qwen-image-edit", "Edit", "subjects", "first", "as Qwen-Image, with one picture behind the new one"),
        (
            "qwen-image-edit-plus",
            "EditPlus",
            "subjects_of_plus",
            "2511",
            "as qwen-image-edit, with up to three pictures",
        ),
    ):
        register(
            BackboneSpec(
                name=name,
                target=f"headrouter_qwen_image_edit.parameters:{kind}Parameters",
                default_model=default,
                testing=f"headrouter_qwen_image_edit.testing:{subjects}",
                provides=_PROVIDES,
                summary=f"Qwen-Image-Edit: {summary}; the text encoder sees them too.",
            )
        )


@hookimpl
def register_models(register: Callable[[Model], None]) -> None:
    """Register the released weights."""
    for name, backbone, source, steps, summary in (
        ("first", "qwen-image-edit", RELEASED[0], 50, "20 billion parameters, August 2025."),
        ("2511", "qwen-image-edit-plus", RELEASED_PLUS[0], 40, "20 billion parameters, November 2025."),
        ("2509", "qwen-image-edit-plus", RELEASED_PLUS[1], 40, "20 billion parameters, September 2025."),
    ):
        register(
            Model(
                name=name,
                backbone=backbone,
                source=source,
                steps=steps,
                guidance=4.0,
                area=1024 * 1024,
                licence="Apache-2.0",
                summary=summary,
                facts="headrouter_qwen_image_edit:released.json",
            )
        )


@hookimpl
def identify_backbone(model_index: dict[str, object]) -> str | None:
    """Identify both pipelines."""
    kinds = {"QwenImageEditPipeline": "qwen-image-edit", "QwenImageEditPlusPipeline": "qwen-image-edit-plus"}
    return kinds.get(str(model_index.get("_class_name")))
