"""Hold presets that the benchmark found on `tune` of the bundled ``sd3.5``; docs/results.md.

With ``rf`` the controller holds the picture until the named step of 28 and lets it go; HeadRouter, otherwise with its defaults,
acts in the four steps after. The last two presets are for local blending too, with masks from differences, and without
refinement of image tokens, which costs preservation: ``drawn-kept`` on ``rf`` with the source's row held, ``drawn-flow`` on
``flowedit``.
"""

from typing import Final

from headrouter.plugins.specifications import Kind, Preset

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
"""Name of each preset for ``rf``: the step at which the controller lets go, and what it is for."""
KEPT: Final = "drawn-kept"
FLOW: Final = "drawn-flow"
GAMMA: Final = 0.5
_BLEND: Final[Values] = {"mask": "attention", "blend": 1.0}


def presets() -> list[Preset]:
    """Return each preset for the inversion and for the methods that it is about."""
    made = []
    for name, (release, summary) in RELEASE.items():
        rf: Values = {"eta": 1.0, "start": 0, "stop": release}
        router: Values = {"gamma": GAMMA, "start": release, "stop": release + WINDOW}
        if name == KEPT:
            held = {**rf, "hold_source": True}, {**router, "image_tokens": "off"}
            made += _parts(name, summary, "rf", *held, _BLEND)
        else:
            made += _parts(name, summary, "rf", rf, router)
    flow: Values = {"last_steps": 0.6}
    summary = "Any edit of a drawing, on flowedit; what does not differ is kept, by local blending."
    return [*made, *_parts(FLOW, summary, "flowedit", flow, {"gamma": 0.1, "image_tokens": "off"}, _BLEND)]


def _parts(
    name: str, summary: str, inversion: str, values: Values, router: Values, blend: Values | None = None
) -> list[Preset]:
    parts: dict[tuple[Kind, str], Values] = {("inversion", inversion): values, ("method", "headrouter"): router}
    if blend is not None:
        parts["method", "local-blend"] = blend
    provenance = "`headrouter bench shapes`, set tune, bundled sd3.5 (docs/results.md)"
    return [Preset(name, component, STEPS, given, provenance, summary) for component, given in parts.items()]
