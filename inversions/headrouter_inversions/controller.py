"""Pull the flow towards known ends by RF-Inversion's controller, arXiv:2410.10792.

Inversion: v̂ = v + γ·(v_1 − v) with v_1 = (y_1 − x)/(1 − σ) and y_1 ~ N(0, I), on the empty prompt without guidance. Sampling:
v̂ = v + η_i·(v_0 − v) with v_0 = (x − y_0)/σ, y_0 the picture's latents, η_i = η inside the window of steps and 0 outside.

σ in the denominators is that of x; only the noise level given to the model may be the step's end. The public pipeline gives it a
uniform t = i/(N+1) instead while it steps the shifted grid; that is not reproduced here.
"""

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from headrouter.attention.rows import Row
from headrouter.config.step_or_fraction import StepOrFraction, step_of, window
from headrouter.errors import InvalidInputError
from headrouter.sampling.directions import TwoWay
from headrouter.sampling.inversion import RunInputs, State, StrengthScale, Velocity, per_row
from headrouter_inversions.held import HoldsSource


class Controlled(HoldsSource, TwoWay, ABC):
    """Inverts under the controller, and gives subclasses the controlled velocity of sampling.

    In a step where η (or γ) is 1 the model has no say and is not called.
    """

    sampling_only: ClassVar[frozenset[str]] = frozenset({"eta", "start", "stop", "decay", "hold_source"})
    strengths: ClassVar[StrengthScale | None] = StrengthScale("stop", (0.5, 0.43, 0.36))

    gamma: float = Field(0.5, ge=0, le=1, description="γ, pull towards Gaussian noise while inverting.")
    eta: float = Field(
        0.9,
        ge=0,
        le=1,
        description="η, pull towards the picture while sampling: larger keeps more of the source.",
        json_schema_extra={"knob": "keep"},
    )
    start: StepOrFraction = Field(0, description="First controlled sampling step, or fraction of the steps.")
    stop: StepOrFraction = Field(0.25, description="First step after the controlled ones, or fraction.")
    decay: float = Field(0.0, ge=0, description="p: η falls as η·(1 − i/N)^p over the steps i; 0 keeps it constant.")
    hold_source: bool = Field(
        False,
        description="Control the source's row wholly and in every step, so that methods compare with the picture itself and "
        "not with its reconstruction.",
    )
    told: Literal["target", "current"] = Field(
        "target", description="Noise level that the model is given while inverting: of the step's end, or of its start."
    )

    @model_validator(mode="after")
    def _window_is_ordered(self) -> Self:
        start, stop = self.start, self.stop
        if type(start) is type(stop) and start > stop:
            raise ValueError(f"`start` must not come after `stop`, got start {start} and stop {stop}")
        return self

    @property
    def inversion_prompt(self) -> Literal["source", "empty"]:
        """Return ``empty``."""
        return "empty"

    @property
    def inversion_guidance(self) -> float:
        """Return 0, no guidance."""
        return 0.0

    @property
    def source_is_known(self) -> bool:
        """Return whether the source is held."""
        return self.hold_source

    @property
    def seeded(self) -> frozenset[Literal["invert", "sample"]]:
        """Return the inverting phase, which draws y_1; none at γ = 0."""
        return frozenset({"invert"} if self.gamma > 0 else ())

    def sampling_steps(self, steps: int) -> range:
        """Return all steps."""
        start, stop = step_of(self.start, steps), step_of(self.stop, steps)
        if start > stop:
            raise InvalidInputError(
                f"`inversion.start` {self.start} comes after `inversion.stop` {self.stop} in a run of {steps} steps."
            )
        return range(steps)

    def controller(self, step: int, steps: int) -> float:
        """Return η of a sampling step."""
        if step not in window(self.start, self.stop, steps):
            return 0.0
        return self.eta * float((1 - step / steps) ** self.decay)

    def invert_step(self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs) -> State:
        """Step x ← x + (σ′ − σ)·[v + γ·((y_1 − x)/(1 − σ) − v)], from σ up to σ′; y_1 is the state's memory."""
        current, target = inputs.sigmas[inputs.steps - step], inputs.sigmas[inputs.steps - step - 1]
        told = target if self.told == "target" else current
        if self.gamma == 0:
            return State(state.latents + (target - current) * velocity(state.latents, told, rows))
        (end,) = state.memory or (per_row(inputs.noise("y1", 0), rows),)
        pull = (end - state.latents) / (1 - current)
        if self.gamma < 1:
            drift = velocity(state.latents, told, rows)
            pull = drift + self.gamma * (pull - drift)
        return State(state.latents + (target - current) * pull, (end,))

    def controlled(
        self, step: int, state: State, rows: Sequence[Row], velocity: Velocity, inputs: RunInputs
    ) -> Float[Tensor, "rows channels h w"]:
        """Return v̂ = v + η_i·((x − y_0)/σ_i − v); (x − y_0)/σ_i for a source that is held."""
        sigma, eta = inputs.sigmas[step], self.controller(step, inputs.steps)
        if eta == 1:
            return self.known_velocity(step, state.latents, rows, inputs)
        drift = velocity(state.latents, sigma, rows)
        if eta > 0:
            drift = drift + eta * (self.known_velocity(step, state.latents, rows, inputs) - drift)
        return self.with_held(drift, step, state.latents, rows, inputs) if self.hold_source else drift
