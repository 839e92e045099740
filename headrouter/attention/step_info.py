"""Locate a model call within a run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from headrouter import renamed

Phase = Literal["invert", "sample", "generate"]


@final
@dataclass(frozen=True, slots=True)
class StepInfo:
    """Locates a model call by its phase, step and stage.

    Attributes:
        phase: ``invert``: picture to noise; ``sample``: noise to edited picture; ``generate``: noise to a new picture.
        step: Number of the step, from 0. Windows and averages count steps.
        steps: Number of steps of this phase.
        stage: Number of the evaluation within the step, from 0.
        sigma: Noise level that the model is given, from 0 (picture) to 1 (noise).
        forward: Number of the model call within the run, from 0.
    """

    phase: Phase
    step: int
    steps: int
    stage: int
    sigma: float
    forward: int


if not TYPE_CHECKING:
    __getattr__ = renamed.names(__name__, Clock="StepInfo")
