"""Load the model of a configuration, unless it is there already, one at a time."""

import threading
from collections.abc import Sequence

from headrouter.editing.assembly import Steering, backbone_of, refuse_misfits
from headrouter.experiments.configuration import AnyConfiguration, Configuration, OtherConfiguration
from headrouter.experiments.running.editing.hand import Hand
from headrouter.experiments.running.editing.model_hand import ModelHand
from headrouter.experiments.running.editing.other_hand import OtherHand
from headrouter.experiments.running.inversions import KeptInversions
from headrouter.experiments.running.models import KeptModels
from headrouter.experiments.running.unit import Job

_loading = threading.Lock()
"""Of models: libraries that load them change the state of the whole process meanwhile."""


def load(
    configuration: AnyConfiguration,
    jobs: Sequence[Job],
    device: str,
    kept: KeptInversions,
    models: KeptModels,
) -> Hand:
    """Load the model of a configuration, to be used by all these jobs, unless it is among those that are kept.

    Raises:
        HeadRouterError: it cannot be loaded.
    """
    with _loading:
        if isinstance(configuration, OtherConfiguration):
            return OtherHand(configuration, device)
        parts: list[Steering] = []
        for job in jobs:
            if isinstance(one := job.configuration, Configuration):
                parts += [one.inversion, *one.operators, *one.methods]
        if found := models.take(configuration.loading, device):
            refuse_misfits(found[0].provides, configuration.backbone_name, parts)
        else:
            values = {"device": device}
            found = backbone_of(configuration.backbone, parts, model=configuration.model, pipeline=None, values=values)
        return ModelHand(*found, kept)
