"""Hold presets that the benchmark found on `tune` of the bundled ``sd3.5``; docs/results.md.

With ``rf`` the controller holds the picture until the named step of 28 and lets it go; HeadRouter, otherwise with its defaults,
acts in the four steps after. ``drawn-kept`` on ``rf`` with the source's row held, and ``drawn-flow`` on ``flowedit``, are for local
blending too, with masks from differences, and without refinement of image tokens, which costs preservation. ``drawn-gentle`` is the
best of docs/masks-study.md: ``flowedit`` under little guidance with local blending, for which heads do nothing.
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
GENTLE: Final = "drawn-gentle"
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
    made += _parts(FLOW, summary, "flowedit", flow, {"gamma": 0.1, "image_tokens": "off"}, _BLEND)
    gentle: Values = {"last_steps": 0.75, "source_guidance": 1.0, "guidance": 2.0}
    summary = (
        "Any edit of a drawing, on flowedit under little guidance; what does not differ is kept, by local blending."
    )
    provenance = "experiments/shapes-masks-second.yaml, set tune, bundled sd3.5, sd3 and flux (docs/masks-study.md)"
    return [*made, *_parts(GENTLE, summary, "flowedit", gentle, None, _BLEND, provenance)]


def _parts(
    name: str,
    summary: str,
    inversion: str,
    values: Values,
    router: Values | None,
    blend: Values | None = None,
    provenance: str = "`headrouter bench shapes`, set tune, bundled sd3.5 (docs/results.md)",
) -> list[Preset]:
    parts: dict[tuple[Kind, str], Values | None] = {
        ("inversion", inversion): values,
        ("method", "headrouter"): router,
        ("method", "local-blend"): blend,
    }
    return [
        Preset(name, component, STEPS, given, provenance, summary)
        for component, given in parts.items()
        if given is not None
    ]
