"""Judge by the model alone which of several edits of a picture, from weak to strong, took.

The error of a prompt p at a picture z, with noise ε, is that of the velocity, whose target is ε − z:

    e(z, p) = mean of (v(x, σ, p) − (ε − z))²        x = (1 − σ)·z + σ·ε        σ = 0.85 and 0.9

A picture is the likelier under a prompt the smaller its error there (arXiv:2303.16203 classifies so), so that margin(z) =
e(z, source) − e(z, target) says how far it has gone from one prompt to the other. An edit took where its margin has come
:data:`ENOUGH` of the way from the source's to the strongest edit's. σ and that share were chosen on drawings, docs/strength.md.
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from headrouter.attention.rows import Row

LEVELS: Final = (0.85, 0.9)
"""σ, noise levels of the comparison."""
ENOUGH: Final = 0.85
"""Share of the strongest edit's margin at which an edit took."""

Evaluate = Callable[[Tensor, float, Sequence[Row]], Tensor]
"""Returns the velocity of rows at latents and a noise level."""


def margins(
    evaluate: Evaluate,
    latents: Float[Tensor, "pictures channels h w"],
    noise: Callable[[int], Tensor],
    source: Row,
    target: Row,
) -> Float[Tensor, " pictures"]:
    """Return how much smaller the error of the target's prompt is than the source's, at each picture.

    Args:
        evaluate: Evaluates the model.
        latents: The pictures.
        noise: Draws the noise ``[1, channels, h, w]`` of a level, by its number, which all pictures share.
        source, target: Rows of the two prompts.
    """
    rows = [source] * len(latents) + [target] * len(latents)
    total = torch.zeros(len(latents), dtype=torch.float32, device=latents.device)
    for number, sigma in enumerate(LEVELS):
        drawn = noise(number)
        noised = (1 - sigma) * latents + sigma * drawn
        velocities = evaluate(torch.cat([noised, noised]), sigma, rows)
        errors = (velocities - (drawn - latents).repeat(2, 1, 1, 1)).square().flatten(1).mean(dim=1)
        total += errors[: len(latents)] - errors[len(latents) :]
    return total / len(LEVELS)


def weakest_that_took(margins: Float[Tensor, "pictures edits"]) -> list[int]:
    """Return for each edit the number of the weakest strength at which it took, the strongest where none did.

    Args:
        margins: Of the source, and of the edit at each strength from the weakest to the strongest.

    >>> weakest_that_took(torch.tensor([[-1.0, -1.0, 0.0], [0.8, 0.0, -1.0], [1.0, 0.9, -2.0], [0.9, 1.0, -1.0]]))
    [0, 1, 2]
    """
    source, tried = margins[0], margins[1:]
    gained = tried - source
    took = (gained >= ENOUGH * gained[-1]) & (gained > 0)
    took[-1] = True
    return took.int().argmax(dim=0).tolist()
