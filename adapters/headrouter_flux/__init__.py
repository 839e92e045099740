"""Register Flux."""

from collections.abc import Callable

from headrouter.plugins.specifications import BackboneSpec, Model, hookimpl

headrouter_api = 1

RELEASED = ("black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-schnell")


@hookimpl
def register_backbones(register: Callable[[BackboneSpec], None]) -> None:
    """Register Flux."""
    register(
        BackboneSpec(
            name="flux",
            target="headrouter_flux.parameters:FluxParameters",
            default_model="dev",
            testing="headrouter_flux.testing:subjects",
            provides={
                "joint-attention",
                "text-stream",
                "single-stream",
                "prompt-words",
                "guidance",
                "negative-prompt",
                "encode-image",
            },
            summary="FLUX.1: dual blocks, then single ones; text first; guidance embedded or true.",
        )
    )


@hookimpl
def register_models(register: Callable[[Model], None]) -> None:
    """Register the released weights."""
    area, word_blocks = 1024 * 1024, (18, 17, 12, 14, 11)  # arXiv:2508.07519; double blocks, then single ones
    register(
        Model(
            name="dev",
            backbone="flux",
            source=RELEASED[0],
            steps=28,
            guidance=3.5,
            area=area,
            word_blocks=word_blocks,
            licence="FLUX.1 [dev] Non-Commercial License",
            gated=True,
            summary="Guidance-distilled, 12 billion parameters.",
            facts="headrouter_flux:released.json",
        )
    )
    register(
        Model(
            name="schnell",
            backbone="flux",
            source=RELEASED[1],
            steps=4,
            guidance=1.0,
            area=area,
            word_blocks=word_blocks,
            licence="Apache-2.0",
            summary="Distilled to few steps, 12 billion parameters; reconstructs badly.",
            facts="headrouter_flux:released.json",
        )
    )


@hookimpl
def identify_backbone(model_index: dict[str, object]) -> str | None:
    """Identify pipelines of Flux."""
    return "flux" if model_index.get("_class_name") == "FluxPipeline" else None
