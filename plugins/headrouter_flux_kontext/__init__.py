"""Register FLUX.1 Kontext, which edits by an instruction."""

from collections.abc import Callable

from headrouter.plugins.specifications import BackboneSpec, Model, hookimpl

headrouter_api = 1

RELEASED = ("black-forest-labs/FLUX.1-Kontext-dev",)


@hookimpl
def register_backbones(register: Callable[[BackboneSpec], None]) -> None:
    """Register FLUX.1 Kontext."""
    register(
        BackboneSpec(
            name="flux-kontext",
            target="headrouter_flux_kontext.parameters:KontextParameters",
            aliases=("kontext",),
            default_model="dev",
            testing="headrouter_flux_kontext.testing:subjects",
            provides={
                "joint-attention",
                "text-stream",
                "single-stream",
                "prompt-words",
                "guidance",
                "negative-prompt",
                "encode-image",
                "reference-pictures",
                "instructions",
            },
            summary="FLUX.1 Kontext: Flux with the picture's tokens behind the new one's; edits by an instruction.",
        )
    )


@hookimpl
def register_models(register: Callable[[Model], None]) -> None:
    """Register the released weights."""
    register(
        Model(
            name="dev",
            backbone="flux-kontext",
            source=RELEASED[0],
            steps=28,
            guidance=2.5,
            area=1024 * 1024,
            licence="FLUX.1 [dev] Non-Commercial License",
            gated=True,
            summary="Guidance-distilled, 12 billion parameters.",
            facts="headrouter_flux_kontext:released.json",
        )
    )


@hookimpl
def identify_backbone(model_index: dict[str, object]) -> str | None:
    """Identify pipelines of FLUX.1 Kontext."""
    return "flux-kontext" if model_index.get("_class_name") == "FluxKontextPipeline" else None
