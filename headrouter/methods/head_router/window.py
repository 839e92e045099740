"""Select the steps and layers in which a method steers."""

from pydantic import Field

from headrouter.attention.joint_attention import Site
from headrouter.attention.rows import way_to_a_source
from headrouter.config.configuration import Parameters
from headrouter.config.step_or_fraction import StepOrFraction, window
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.methods.method import RunContext


class Window(Parameters):
    """Selects the steered steps and layers."""

    start: StepOrFraction = Field(0, description="First steered step, or fraction of the steps.")
    stop: StepOrFraction = Field(1.0, description="First step after the steered ones, or fraction.")
    layers: tuple[int, ...] | None = Field(None, description="Numbers of the steered joint layers; all if not given.")

    def steps(self, context: RunContext) -> range:
        """Return the steered steps of a run."""
        return window(self.start, self.stop, context.steps)

    def sites(self, context: RunContext) -> list[Site]:
        """Return the sites of the steered layers.

        Raises:
            InvalidInputError: a layer that the model does not have.
        """
        unknown = [layer for layer in self.layers or () if not 0 <= layer < len(context.sites)]
        if unknown:
            raise InvalidInputError(
                f"`method.layers` {unknown} do not exist: the model has joint layers 0 to {len(context.sites) - 1}."
            )
        return [context.sites[layer] for layer in (range(len(context.sites)) if self.layers is None else self.layers)]


def refuse_without_source(context: RunContext, what: str, instead: str) -> None:
    """Refuse a run that has no source's row.

    Raises:
        IncompatibleError: naming what compares, and the parameter that does without.
    """
    if not any(row.is_source for row in context.rows):
        raise IncompatibleError(
            f"{what} compares an edit with its source, and this run has no source. {way_to_a_source(context.rows)}, use"
            f" `method.{instead}`, or `method='none'`."
        )
