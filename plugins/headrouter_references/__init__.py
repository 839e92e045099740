"""Register methods that act on reference pictures, which instruction models attend to beside text and image."""

from collections.abc import Callable

from headrouter.plugins.specifications import MethodSpec, hookimpl

headrouter_api = 1


@hookimpl
def register_methods(register: Callable[[MethodSpec], None]) -> None:
    """Register steering of keys, of keys and values, and of heads between groups of tokens, and its measurement."""
    for name, target, acts, summary in (
        ("grag", "grag:GroupGuidance", True, "Scales the reference's keys about their mean (arXiv:2510.24657)."),
        (
            "reference-injection",
            "injection:ReferenceInjection",
            True,
            "Blends keys and values of the reference into those of the new picture, by head (arXiv:2605.01480).",
        ),
        (
            "group-routing",
            "routing:GroupRouting",
            True,
            "Amplifies or damps, by head, the attention to text, to the new picture and to the reference.",
        ),
        (
            "group-shares",
            "routing:GroupShares",
            False,
            "Changes nothing; records how much each head attends to text, to the new picture and to the reference.",
        ),
    ):
        register(
            MethodSpec(
                name=name,
                target=f"headrouter_references.{target}",
                provides={"acts"} if acts else set(),
                requires={"joint-attention", "reference-pictures"},
                summary=summary,
            )
        )
