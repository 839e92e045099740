"""Set how FLUX.1 Kontext is loaded."""

from headrouter_flux.parameters import FluxParameters

from headrouter.models.backbone import Backbone, Defaults


class KontextParameters(FluxParameters):
    """Sets how FLUX.1 Kontext is loaded and guided."""

    def load(self, source: str, pipeline: object | None = None, defaults: Defaults | None = None) -> Backbone:
        """Load the model, see :meth:`headrouter.models.backbone.BackboneParameters.load`."""
        from headrouter_flux_kontext.backbone import KontextBackbone

        return KontextBackbone.load(self, source, pipeline, defaults)
