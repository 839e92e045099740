"""Set how Krea 2 is loaded."""

from headrouter_diffusers.parameters import DiffusersParameters
from pydantic import Field

from headrouter.models.backbone import Backbone, Defaults


class Krea2Parameters(DiffusersParameters):
    """Sets how Krea 2 is loaded.

    Attributes:
        max_sequence_length: Number of tokens of a prompt, the end of its template and padding included; fewer are faster, and
            not what the model was trained on.
    """

    max_sequence_length: int = Field(default=512, ge=16, le=512)

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_krea2.backbone import Krea2Backbone

        return Krea2Backbone.load(self, source, pipeline, defaults)
