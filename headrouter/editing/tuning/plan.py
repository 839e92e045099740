"""Hold the knobs of a run, and the plan that they settle."""

import os
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, final

from pydantic import Field, field_validator

from headrouter.config.configuration import Parameters
from headrouter.editing.assembly import changed, name_of
from headrouter.errors import IncompatibleError
from headrouter.imaging.pasting import FEATHER
from headrouter.masks.mask import Mask
from headrouter.methods.method import Method
from headrouter.sampling.inversion import Inversion
from headrouter.sampling.velocity_operator import VelocityOperator

Steps = Annotated[int, Field(ge=1, le=10_000)]
Guidance = Annotated[float, Field(ge=0, lt=1000)]
Only = Literal["inversion", "reconstruction"]
Strength = Literal["auto"]


class Knobs(Parameters):
    """Holds the values that a user sets beside the parameters of the parts."""

    preset: str | None = Field(
        None, description="Name of published or measured values, see `headrouter presets`, or the file of a preset."
    )
    keep: float | None = Field(None, ge=0, description="Share of the source to keep, η of `rf`.")
    push: float | None = Field(None, ge=0, description="Strength of the edit, γ of `headrouter`.")
    strength: Strength | None = Field(
        None, description="Edit at several strengths, and keep of each edit the weakest that took: `auto`."
    )
    steps: Steps | None = Field(None, description="Steps of the time grid.")
    guidance: Guidance | None = Field(None, description="Guidance while sampling.")
    paste: bool = Field(False, description="Put the original pixels back outside the mask, at full size.")
    feather: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description=f"Width of the seam of `paste`, as a share of the picture's shorter side; {FEATHER} if not given.",
    )

    @field_validator("preset", mode="before")
    @classmethod
    def _path_as_text(cls, value: Any) -> Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else value


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """Says how a run is done: the parts with presets and knobs applied, and nothing left open.

    Attributes:
        inversion: From picture to noise and back.
        methods: Methods that steer, in order.
        steps: Of the time grid.
        guidance: While sampling.
        operators: Velocity operators, in order.
        mask: Mask of the edit, which the parts that take it have; None if the user gave none.
        paste: Whether the original pixels are put back outside the mask.
        feather: Width of the seam, as a share of the picture's shorter side.
        strength: Whether each edit is made at all strengths of the inversion, of which one is kept; None for one as it is set.
    """

    inversion: Inversion
    methods: tuple[Method, ...]
    steps: int
    guidance: float
    operators: tuple[VelocityOperator, ...] = ()
    mask: Mask | None = None
    paste: bool = False
    feather: float = FEATHER
    strength: Strength | None = None

    def at_strengths(self) -> "tuple[Plan, ...]":
        """Return the plan at each strength of its inversion, from the weakest to the strongest.

        Raises:
            IncompatibleError: the inversion has no strengths, or the user set the one to edit at.
        """
        scale = self.inversion.strengths
        if scale is None:
            instructed = self.inversion.takes_references
            way = "Leave it out" if instructed else "Choose another, such as 'flowedit', or leave it out"
            raise IncompatibleError(
                f"`strength` 'auto' has nothing to choose: `inversion` {name_of('inversion', self.inversion)!r} has no parameter "
                f"that makes an edit stronger. {way}."
            )
        given = getattr(self.inversion, scale.parameter)
        if given != type(self.inversion).model_fields[scale.parameter].default:
            raise IncompatibleError(
                f"`strength` 'auto' chooses `inversion.{scale.parameter}` of {list(scale.values)}, and it is set to {given!r}, by"
                " you or by a preset. Leave one out."
            )
        inversions = [changed(self.inversion, {scale.parameter: value}) for value in scale.values]
        return tuple(replace(self, inversion=one, strength=None) for one in inversions)

    @property
    def inversion_is_guided(self) -> bool:
        """Return whether the inversion evaluates the negative prompt."""
        return self.inversion.inversion_prompt == "source" and self.inversion.inversion_guidance != 1

    @property
    def inverting_operators(self) -> tuple[VelocityOperator, ...]:
        """Return the operators that act while inverting, which the inverted latents depend on."""
        return tuple(operator for operator in self.operators if operator.acts_in == "invert")
