"""Register FLUX.2: dev, and klein, base and distilled."""

from collections.abc import Callable

from headrouter.plugins.specifications import BackboneSpec, Model, hookimpl

headrouter_api = 1

_HUB = "black-forest-labs/FLUX.2-"
RELEASED = (f"{_HUB}dev",)
"""The pipeline that completes a single file of dev; those of klein look alike, so that `base` must name theirs."""

_PROVIDES = frozenset(
    {
        "joint-attention",
        "text-stream",
        "single-stream",
        "prompt-words",
        "guidance",
        "encode-image",
        "reference-pictures",
    }
)
_OWN, _FACTS = "FLUX Non-Commercial License", "headrouter_flux2:released.json"


@hookimpl
def register_backbones(register: Callable[[BackboneSpec], None]) -> None:
    """Register dev and klein, which differ in their text encoder and guidance."""
    register(
        BackboneSpec(
            name="flux2",
            target="headrouter_flux2.parameters:Flux2Parameters",
            testing="headrouter_flux2.testing:subjects",
            default_model="dev",
            provides=_PROVIDES,
            summary="FLUX.2 dev: dual blocks, then single ones; text first, read by Mistral; embedded guidance.",
        )
    )
    register(
        BackboneSpec(
            name="flux2-klein",
            target="headrouter_flux2.parameters:KleinParameters",
            testing="headrouter_flux2.testing:subjects_of_klein",
            aliases=("klein",),
            default_model="base-4b",
            provides=_PROVIDES | {"negative-prompt"},
            summary="FLUX.2 klein: as dev, smaller, text read by Qwen3; two-pass guidance, or none where distilled.",
        )
    )


@hookimpl
def register_models(register: Callable[[Model], None]) -> None:
    """Register the released weights."""
    area = 1024 * 1024
    register(
        Model(
            "dev",
            "flux2",
            f"{_HUB}dev",
            50,
            4.0,
            area,
            _OWN,
            gated=True,
            summary="Guidance-distilled, 32 billion parameters.",
            facts=_FACTS,
        )
    )
    for size, licence, gated in (("4B", "Apache-2.0", False), ("9B", _OWN, True)):
        for name, kind, steps, guidance, summary in (
            ("base-", "klein-base-", 50, 4.0, "for guidance in two passes"),
            ("", "klein-", 4, 1.0, "distilled to few steps without guidance"),
        ):
            register(
                Model(
                    f"{name}{size.lower()}",
                    "flux2-klein",
                    f"{_HUB}{kind}{size}",
                    steps,
                    guidance,
                    area,
                    licence,
                    gated=gated,
                    summary=f"{size[0]} billion parameters, {summary}.",
                    facts=_FACTS,
                )
            )


@hookimpl
def identify_backbone(model_index: dict[str, object]) -> str | None:
    """Identify pipelines of FLUX.2; that of dev and that of klein are of two classes."""
    kinds = {"Flux2Pipeline": "flux2", "Flux2KleinPipeline": "flux2-klein"}
    return kinds.get(str(model_index.get("_class_name")))
