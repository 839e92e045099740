"""What all files of this folder share: how many cases, and a backbone that says when it was loaded."""

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from headrouter.plugins import register, reload
from headrouter.plugins.specifications import BackboneSpec, Model, hookimpl

from .fake import Fake

FACTOR = int(os.environ.get("HEADROUTER_HARDENING", "1"))
"""Times as many random cases."""


def cases(number: int) -> settings:
    """So many random cases, the same in every run unless more are asked for."""
    return settings(
        max_examples=number * FACTOR,
        derandomize=FACTOR == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class FakePlugin:
    """Registers the fake."""

    headrouter_api = 1

    @hookimpl
    def register_backbones(self, register: Callable[[BackboneSpec], None]) -> None:
        target = "hardening.fake:FakeParameters"
        register(
            BackboneSpec("fake", target, provides=Fake().provides, default_model="toy", summary="Counts its uses.")
        )

    @hookimpl
    def register_models(self, register: Callable[[Model], None]) -> None:
        register(Model("toy", "fake", "toy", summary="Random weights."))


@pytest.fixture(scope="package", autouse=True)
def _fake_backbone() -> Iterator[None]:
    register(FakePlugin(), name="fake")
    yield
    reload()
