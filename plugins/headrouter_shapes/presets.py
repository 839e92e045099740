"""Settings that the benchmark found for edits of drawn pictures, on `tune` of the bundled ``sd3.5``; docs/results.md.

The controller of ``rf`` holds the picture until the named step of 28 and lets it go; HeadRouter, otherwise with its defaults,
acts in the four steps after. In ``drawn-kept`` the source's row is held to the end and local blending keeps to it what does not
differ; HeadRouter then does without refinement of image tokens, which costs preservation.
"""

from typing import Final

from headrouter.plugin import Kind, Preset

Values = dict[str, int | float | str]
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
    "drawn-kept": (14, "Any edit of a drawing; what does not differ is kept, by local blending."),
}
"""Name of each preset: the step at which the controller lets go, and what it is for."""
KEPT: Final = "drawn-kept"
GAMMA: Final = 0.5


def presets() -> list[Preset]:
    """Return each preset for the trajectory and for the methods that it is about."""
    made: list[Preset] = []
    for name, (release, summary) in RELEASE.items():
        rf: Values = {"eta": 1.0, "start": 0, "stop": release}
        router: Values = {"gamma": GAMMA, "start": release, "stop": release + WINDOW}
        parts: dict[tuple[Kind, str], Values] = {("inversion", "rf"): rf, ("method", "headrouter"): router}
        if name == KEPT:
            rf["hold_source"], router["image_tokens"] = True, "off"
            parts["method", "local-blend"] = {"mask_from": "difference", "blend": 1.0}
        provenance = "`headrouter bench shapes`, set tune, bundled sd3.5 (docs/results.md)"
        made += [Preset(name, component, STEPS, values, provenance, summary) for component, values in parts.items()]
    return made
