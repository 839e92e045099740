"""Set and read noise levels of flow-matching Euler schedulers, and refuse schedulers that step otherwise."""

import copy
from collections.abc import Callable
from typing import Any

import headrouter_diffusers.quiet  # noqa: F401
import numpy
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from jaxtyping import Float
from torch import Tensor

from headrouter.errors import IncompatibleError, reason_of

_ADVICE = (
    "Use the FlowMatchEulerDiscreteScheduler that the model was released with, by"
    " `FlowMatchEulerDiscreteScheduler.from_pretrained(MODEL, subfolder='scheduler')`."
)

_SETTING = "Use the configuration that it was released with; in an adapter of your own look at how `set_steps` sets it."


def refuse_scheduler(kind: Any, which: str) -> None:
    """Check that a class of scheduler takes the plain Euler steps that an `inversion` stands in for.

    Args:
        kind: The class.
        which: Whose it is, for messages.

    Raises:
        IncompatibleError: it steps otherwise, which an edit would not do.
    """
    plain = FlowMatchEulerDiscreteScheduler
    if not issubclass(kind, plain) or kind.step is not plain.step:
        raise IncompatibleError(
            f"{which} has the scheduler {kind.__name__}, whose steps an edit would not take: it walks the noise levels of"
            f" a scheduler by its `inversion`. {_ADVICE}"
        )


def check_scheduler(scheduler: Any, which: str) -> None:
    """Check a scheduler and its options, see :func:`refuse_scheduler`; nothing of it is called."""
    refuse_scheduler(type(scheduler), which)
    if scheduler.config.get("stochastic_sampling"):
        raise IncompatibleError(
            f"{which} has a scheduler with `stochastic_sampling`, which an edit would not do: it walks the noise levels of"
            " a scheduler by its `inversion`. Set it to False, or choose `inversion` 'rf-sde' for noise on the way."
        )


def grid_of(scheduler: Any, steps: int, set_steps: Callable[[Any], None], which: str) -> Float[Tensor, "steps_plus_1"]:
    """Return the noise levels of a scheduler, which stays as it is, float64 on the CPU.

    Args:
        scheduler: The pipeline's own.
        steps: Number of steps.
        set_steps: Sets the time grid of a copy as the stock pipeline does.
        which: Whose it is, for messages.

    Raises:
        IncompatibleError: it is of another kind, or gives no falling noise levels between 1 and 0.
    """
    check_scheduler(scheduler, which)
    scheduler = copy.copy(scheduler)
    try:
        set_steps(scheduler)
        grid: Tensor = scheduler.sigmas.detach().to("cpu", torch.float64)
    except Exception as error:  # a configuration holds anything, and so do the errors that follow from it
        raise IncompatibleError(
            f"{which} has a scheduler that gives no noise levels: setting its steps fails ({reason_of(error)}). {_SETTING}"
        ) from error
    falls = grid.shape == (steps + 1,) and bool(grid.isfinite().all()) and not (grid.diff() >= 0).any()
    if not falls or grid[-1] != 0 or not 0 < grid[0] <= 1:
        raise IncompatibleError(
            f"{which} has a scheduler that does not give {steps} falling noise levels between 1 and 0. {_SETTING}"
        )
    return grid


def set_shifted_steps(scheduler: Any, steps: int, tokens: int, mu: float | None = None) -> None:
    """Set a time grid from 1 to 1 / ``steps``, shifted by exp(μ), where μ grows linearly with the number of image tokens.

    The ends of the line are those of the scheduler's configuration, or 0.5 for 256 tokens and 1.15 for 4096. A scheduler without
    ``use_dynamic_shifting`` shifts by its own ``shift`` instead; a model with another rule gives ``mu``.
    """
    get = scheduler.config.get
    fewest, most = get("base_image_seq_len", 256), get("max_image_seq_len", 4096)
    low, high = get("base_shift", 0.5), get("max_shift", 1.15)
    slope = (high - low) / (most - fewest)
    mu = tokens * slope + (low - slope * fewest) if mu is None else mu
    if get("use_flow_sigmas"):
        scheduler.set_timesteps(steps, device="cpu", mu=mu)
    else:
        scheduler.set_timesteps(sigmas=numpy.linspace(1.0, 1 / steps, steps), device="cpu", mu=mu)
