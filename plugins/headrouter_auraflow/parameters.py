"""Set how AuraFlow is loaded."""

from headrouter_diffusers.parameters import NeededT5
from headrouter_diffusers.t5 import T5Parameters

from headrouter.models.backbone import Backbone, Defaults


class AuraFlowParameters(T5Parameters):
    """Sets how AuraFlow is loaded.

    Attributes:
        t5: Always true: AuraFlow reads its prompts through T5 alone.
    """

    t5: NeededT5 = True

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_auraflow.backbone import AuraFlowBackbone

        return AuraFlowBackbone.load(self, source, pipeline, defaults)
