"""When and where a method steers: a window of steps, and layers."""

from pydantic import Field

from headrouter.attention.joint_attention import Site
from headrouter.config.configuration import Parameters
from headrouter.config.moments import Moment, window
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.methods.method import Setting


class Window(Parameters):
    """The steered steps and layers."""

    start: Moment = Field(0, description="First steered step, or fraction of the steps.")
    stop: Moment = Field(1.0, description="First step after the steered ones, or fraction.")
    layers: tuple[int, ...] | None = Field(None, description="Numbers of the steered joint layers; all if not given.")

    def steps(self, setting: Setting) -> range:
        """Return the steered steps of a run."""
        return window(self.start, self.stop, setting.steps)

    def sites(self, setting: Setting) -> list[Site]:
        """Return the sites of the steered layers.

        Raises:
            InvalidInputError: a layer that the model does not have.
        """
        unknown = [layer for layer in self.layers or () if not 0 <= layer < len(setting.sites)]
        if unknown:
            raise InvalidInputError(
                f"`method.layers` {unknown} do not exist: the model has joint layers 0 to {len(setting.sites) - 1}."
            )
        return [setting.sites[layer] for layer in (range(len(setting.sites)) if self.layers is None else self.layers)]


def refuse_without_source(setting: Setting, what: str, instead: str) -> None:
    """Refuse a run that has no source's row.

    Raises:
        IncompatibleError: naming what compares, and the parameter that does without.
    """
    if not any(row.is_source for row in setting.rows):
        raise IncompatibleError(
            f"{what} compares an edit with its source, and this run has no source. Use `method.{instead}`, or `method='none'`."
        )
