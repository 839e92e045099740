"""Register the inversions, which turn a picture into noise, if at all, and noise into an edit. One file each."""

from collections.abc import Callable

from headrouter.plugins.specifications import InversionSpec, Preset, hookimpl

headrouter_api = 1


@hookimpl
def register_inversions(register: Callable[[InversionSpec], None]) -> None:
    """Register the published inversions."""
    for name, target, provides, summary in (
        (
            "euler",
            "euler:Euler",
            {"free"},
            "First-order inversion and sampling; optionally with fixed-point iterations.",
        ),
        (
            "rf",
            "rf:RFInversion",
            set(),
            "Rectified-flow inversion with a controller that pulls to the picture (arXiv:2410.10792).",
        ),
        (
            "rf-sde",
            "rf_sde:RFInversionSDE",
            set(),
            "RF-Inversion with fresh noise in every sampling step (arXiv:2410.10792).",
        ),
        (
            "rf-solver",
            "rf_solver:RFSolver",
            set(),
            "Second-order inversion and sampling, two model calls a step (arXiv:2411.04746).",
        ),
        (
            "fireflow",
            "fireflow:FireFlow",
            set(),
            "Second-order inversion and sampling with one model call a step (arXiv:2412.07517).",
        ),
        (
            "directedit",
            "directedit:DirectEdit",
            {"free"},
            "First-order inversion, and sampling aligned with each of its steps, which undoes them exactly (DirectEdit).",
        ),
        (
            "flowedit",
            "flowedit:FlowEdit",
            set(),
            "Follows the difference of target and source velocity; no inversion (arXiv:2412.08629).",
        ),
        (
            "sdedit",
            "sdedit:SDEdit",
            set(),
            "Noises the picture part of the way and denoises it; no inversion (arXiv:2108.01073).",
        ),
        (
            "instruct",
            "instruct:Instruct",
            set(),
            "Makes a new picture by an instruction, with the picture as a reference in the sequence; no inversion.",
        ),
    ):
        register(InversionSpec(name=name, target=f"headrouter_inversions.{target}", provides=provides, summary=summary))


@hookimpl
def register_presets(register: Callable[[Preset], None]) -> None:
    """Register presets that authors publish: HeadRouter for ``rf``, FlowEdit for two models."""
    _presets_of_rf(register)
    _presets_of_flowedit(register)


def _presets_of_rf(register: Callable[[Preset], None]) -> None:
    """Return presets of the table "Hyper-parameter configuration" in HeadRouter's README; its strength is η."""
    table = {
        "object-insertion": (0, 6, 1.0, "Put an object into the picture."),
        "gender": (0, 8, 1.0, "Change a person's gender."),
        "age": (0, 5, 1.0, "Make a person older or younger."),
        "glasses": (6, 25, 0.7, "Put glasses on a face."),
        "stylization": (0, 6, 0.9, "Change the style of the picture."),
    }
    for name, (start, stop, eta, summary) in table.items():
        register(
            Preset(
                name=name,
                component=("inversion", "rf"),
                reference_steps=28,
                values={"start": start, "stop": stop, "eta": eta},
                provenance="README of the authors' release of HeadRouter (arXiv:2411.15034), on FLUX.1-dev",
                summary=summary,
            )
        )


def _presets_of_flowedit(register: Callable[[Preset], None]) -> None:
    """Return the authors' configurations for FLUX.1-dev and Stable Diffusion 3."""
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
