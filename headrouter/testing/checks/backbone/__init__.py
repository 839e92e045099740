"""Collect the checks of a backbone, by concept."""

from headrouter.testing.checks.backbone import (
    attaching,
    generation,
    layout,
    listening,
    picture,
    prompt,
    references,
    velocity,
    weights,
)

CHECKS = (
    *picture.CHECKS,
    *prompt.CHECKS,
    *layout.CHECKS,
    *references.CHECKS,
    *velocity.CHECKS,
    *generation.CHECKS,
    *weights.CHECKS,
    *listening.CHECKS,
    *attaching.CHECKS,
)
