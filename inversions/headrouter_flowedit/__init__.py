"""FlowEdit, and the settings that its authors publish for two models."""

from collections.abc import Callable

from headrouter.plugin import InversionSpec, Preset, hookimpl

headrouter_api = 1


@hookimpl
def register_inversions(register: Callable[[InversionSpec], None]) -> None:
    """FlowEdit."""
    register(
        InversionSpec(
            name="flowedit",
            target="headrouter_flowedit.flowedit:FlowEdit",
            summary="Follows the difference of target and source velocity; no inversion (arXiv:2412.08629).",
        )
    )


@hookimpl
def register_presets(register: Callable[[Preset], None]) -> None:
    """The authors' configurations for FLUX.1-dev and Stable Diffusion 3."""
    table = {
        "flowedit-flux": (28, 24, 1.5, 5.5, "FLUX_exp.yaml", "FLUX.1-dev"),
        "flowedit-sd3": (50, 33, 3.5, 13.5, "SD3_exp.yaml", "Stable Diffusion 3 medium"),
    }
    for name, (steps, last_steps, source_guidance, guidance, file, model) in table.items():
        register(
            Preset(
                name=name,
                component=("inversion", "flowedit"),
                reference_steps=steps,
                values={"last_steps": last_steps, "source_guidance": source_guidance, "guidance": guidance},
                provenance=f"{file} of the authors' release of FlowEdit (arXiv:2412.08629), on {model}",
                summary=f"Any edit, on {model}.",
            )
        )
