"""All that must hold of a backbone, by concept."""

from headrouter.testing import (
    attaching_checks,
    layout_checks,
    listening_checks,
    picture_checks,
    prompt_checks,
    velocity_checks,
    weights_checks,
)

CHECKS = (
    *picture_checks.CHECKS,
    *prompt_checks.CHECKS,
    *layout_checks.CHECKS,
    *velocity_checks.CHECKS,
    *weights_checks.CHECKS,
    *listening_checks.CHECKS,
    *attaching_checks.CHECKS,
)
