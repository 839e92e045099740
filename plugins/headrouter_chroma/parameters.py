"""Set how Chroma is loaded."""

from headrouter_diffusers.parameters import NeededT5
from headrouter_diffusers.t5 import T5Parameters

from headrouter.models.backbone import Backbone, Defaults


class ChromaParameters(T5Parameters):
    """Sets how Chroma is loaded.

    Attributes:
        t5: Always true: Chroma reads its prompts through T5 alone.
    """

    t5: NeededT5 = True

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_chroma.backbone import ChromaBackbone

        return ChromaBackbone.load(self, source, pipeline, defaults)
