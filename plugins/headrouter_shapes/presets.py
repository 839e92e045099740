"""Settings that the benchmark found for edits of drawn pictures, on `tune` of the bundled ``sd3.5``; docs/results.md.

The controller of ``rf`` holds the picture until the named step of 28 and lets it go; HeadRouter, otherwise with its defaults,
acts in the four steps after.
"""

from typing import Final

from headrouter.plugin import Preset

STEPS: Final = 28
WINDOW: Final = 4
RELEASE: Final = {
    "drawn": (14, "Any edit of a drawing."),
    "drawn-shape": (14, "Another shape."),
    "drawn-colour": (18, "Another colour of the objects."),
    "drawn-texture": (14, "Another texture."),
    "drawn-background": (8, "Another background."),
    "drawn-size": (14, "Another size."),
    "drawn-position": (14, "Another place."),
    "drawn-number": (14, "More or fewer objects."),
    "drawn-style": (18, "Another way of drawing."),
}
"""Name of each preset: the step at which the controller lets go, and what it is for."""
GAMMA: Final = 0.5


def presets() -> list[Preset]:
    """Return each preset twice, for the trajectory and for the method."""
    made = []
    for name, (release, summary) in RELEASE.items():
        provenance = "`headrouter bench shapes`, set tune, bundled sd3.5 (docs/results.md)"
        for component, values in (
            (("inversion", "rf"), {"eta": 1.0, "start": 0, "stop": release}),
            (("method", "headrouter"), {"gamma": GAMMA, "start": release, "stop": release + WINDOW}),
        ):
            made.append(Preset(name, component, STEPS, values, provenance, summary))  # type: ignore[arg-type]
    return made
