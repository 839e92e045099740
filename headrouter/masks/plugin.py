"""Register the masks that the core itself brings."""

from collections.abc import Callable
from typing import Final

from headrouter.plugins.specifications import MaskSpec, hookimpl

headrouter_api = 1

_MASKS: Final = (
    ("picture", "picture:PictureMask", (), "The user's own: white where the edit may act."),
    (
        "words",
        "words:WordsMask",
        ("joint-attention", "prompt-words"),
        "Where image tokens attend to the words that differ.",
    ),
    (
        "attention",
        "attention:AttentionMask",
        ("joint-attention",),
        "Where the edit's attention departs from the source's.",
    ),
    (
        "velocity",
        "velocity:VelocityMask",
        (),
        "Where a scout pass finds the two prompts' velocities to differ (arXiv:2609.34237).",
    ),
    (
        "segmentation",
        "segmentation:SegmentationMask",
        (),
        "What a function of the user's returns for picture and prompt.",
    ),
    ("region", "segmentation:RegionMask", (), "Where the data set says that the right edit changes the picture."),
    ("union", "combined:Union", (), "Where any of several masks is."),
    ("intersection", "combined:Intersection", (), "Where all of several masks are."),
    ("complement", "combined:Complement", (), "Where a mask is not."),
    ("grow", "combined:Grow", (), "A mask grown or shrunk on all sides."),
    ("smooth", "combined:Smooth", (), "A mask with soft edges."),
    ("harden", "combined:Harden", (), "A soft mask by a threshold."),
    ("none", "mask:NoMask", (), "No mask: the edit may act everywhere."),
)


@hookimpl
def register_masks(register: Callable[[MaskSpec], None]) -> None:
    """Register all masks of the core."""
    for name, target, requires, summary in _MASKS:
        register(MaskSpec(name, f"headrouter.masks.{target}", requires=frozenset(requires), summary=summary))
