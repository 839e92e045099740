"""Register Chroma."""

from collections.abc import Callable

from headrouter.plugins.specifications import BackboneSpec, Model, hookimpl

headrouter_api = 1

RELEASED = ("lodestones/Chroma1-HD", "lodestones/Chroma1-Base")


@hookimpl
def register_backbones(register: Callable[[BackboneSpec], None]) -> None:
    """Register Chroma."""
    register(
        BackboneSpec(
            name="chroma",
            target="headrouter_chroma.parameters:ChromaParameters",
            testing="headrouter_chroma.testing:subjects",
            default_model="hd",
            provides={
                "joint-attention",
                "text-stream",
                "single-stream",
                "prompt-words",
                "guidance",
                "negative-prompt",
                "encode-image",
            },
            summary="Chroma: Flux.1 without pooled text, padding masked; dual blocks, then single ones; two-pass guidance.",
        )
    )


@hookimpl
def register_models(register: Callable[[Model], None]) -> None:
    """Register the released weights."""
    for name, source, steps, guidance, side, summary in (
        ("hd", RELEASED[0], 40, 3.0, 1024, "8.9 billion parameters."),
        ("base", RELEASED[1], 40, 3.0, 512, "8.9 billion parameters, trained on small pictures."),
    ):
        facts = "headrouter_chroma:released.json"
        register(
            Model(name, "chroma", source, steps, guidance, side * side, "Apache-2.0", summary=summary, facts=facts)
        )


@hookimpl
def identify_backbone(model_index: dict[str, object]) -> str | None:
    """Identify pipelines of Chroma."""
    return "chroma" if model_index.get("_class_name") == "ChromaPipeline" else None
