"""Make the references of an experiment: pictures that bound the results of each model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal, get_args

from headrouter.experiments.configuration import Configuration

Still = Literal["source", "target"]
STILLS: Final[tuple[Still, ...]] = get_args(Still)


def references_of(configurations: Sequence[Configuration], stills: Sequence[Still]) -> list[Configuration]:
    """Return for each model the picture as it is (``source``), and the true one through its autoencoder (``target``)."""
    models = {one.loading: one for one in reversed(configurations)}
    firsts = [one for one in configurations if models[one.loading] is one]
    return [
        replace(one, name=f"reference {still}", still=still, methods=(), seed=0) for one in firsts for still in stills
    ]
