"""Register AuraFlow, the worked example of an adapter that is not headrouter's own."""

from collections.abc import Callable

from headrouter.plugins.specifications import BackboneSpec, Model, hookimpl

headrouter_api = 1


@hookimpl
def register_backbones(register: Callable[[BackboneSpec], None]) -> None:
    """Register AuraFlow."""
    register(
        BackboneSpec(
            name="auraflow",
            target="headrouter_auraflow.parameters:AuraFlowParameters",
            default_model="v0.3",
            testing="headrouter_auraflow.testing:subjects",
            provides={"joint-attention", "text-stream", "single-stream", "prompt-words", "guidance", "encode-image"},
            summary="AuraFlow: registers, text, image; dual blocks, then single ones; two-pass guidance.",
        )
    )


@hookimpl
def register_models(register: Callable[[Model], None]) -> None:
    """Register the released weights."""
    register(
        Model(
            name="v0.3",
            backbone="auraflow",
            source="fal/AuraFlow-v0.3",
            steps=50,
            guidance=3.5,
            area=1024 * 1024,
            licence="Apache-2.0",
            summary="6.8 billion parameters.",
            facts="headrouter_auraflow:released.json",
        )
    )


@hookimpl
def identify_backbone(model_index: dict[str, object]) -> str | None:
    """Identify pipelines of AuraFlow."""
    return "auraflow" if model_index.get("_class_name") == "AuraFlowPipeline" else None
