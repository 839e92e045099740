"""Register Krea 2."""

from collections.abc import Callable

from headrouter.plugins.specifications import BackboneSpec, Model, hookimpl

headrouter_api = 1


@hookimpl
def register_backbones(register: Callable[[BackboneSpec], None]) -> None:
    """Register Krea 2."""
    register(
        BackboneSpec(
            name="krea2",
            target="headrouter_krea2.parameters:Krea2Parameters",
            testing="headrouter_krea2.testing:subjects",
            default_model="turbo",
            provides={
                "joint-attention",
                "text-stream",
                "single-stream",
                "prompt-words",
                "guidance",
                "negative-prompt",
                "encode-image",
            },
            summary="Krea 2: single blocks alone; text first, of twelve layers of Qwen3-VL; two-pass guidance.",
        )
    )


@hookimpl
def register_models(register: Callable[[Model], None]) -> None:
    """Register the released weights; their scale of guidance s is guidance 1 + s here."""
    for name, source, steps, guidance, summary in (
        ("turbo", "krea/Krea-2-Turbo", 8, 1.0, "12.9 billion parameters, distilled to few steps."),
        ("raw", "krea/Krea-2-Raw", 52, 4.5, "12.9 billion parameters, for fine-tuning rather than for pictures."),
    ):
        register(
            Model(
                name,
                "krea2",
                source,
                steps,
                guidance,
                1024 * 1024,
                "Krea 2 Community License",
                gated=True,
                summary=summary,
                facts="headrouter_krea2:released.json",
            )
        )


@hookimpl
def identify_backbone(model_index: dict[str, object]) -> str | None:
    """Identify pipelines of Krea 2."""
    return "krea2" if model_index.get("_class_name") == "Krea2Pipeline" else None
