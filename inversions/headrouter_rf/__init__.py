"""RF-Inversion, and the settings that the authors of HeadRouter publish for it."""

from collections.abc import Callable

from headrouter.plugin import InversionSpec, Preset, hookimpl

headrouter_api = 1


@hookimpl
def register_inversions(register: Callable[[InversionSpec], None]) -> None:
    """RF-Inversion."""
    register(
        InversionSpec(
            name="rf",
            target="headrouter_rf.rf:RFInversion",
            summary="Rectified-flow inversion with a controller that pulls to the picture (arXiv:2410.10792).",
        )
    )


@hookimpl
def register_presets(register: Callable[[Preset], None]) -> None:
    """The table "Hyper-parameter configuration" of HeadRouter's README; its strength is η of the controller."""
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
