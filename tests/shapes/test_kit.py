"""The drawn world's data set and metric pass the kit."""

import pytest

from headrouter.experiments.metric import Measured
from headrouter.plugins import registry
from headrouter.testing import DatasetConformance, DatasetSubject, MetricConformance, MetricSubject


def made(kind, name, **parameters):
    return registry().entry(kind, name).item.load()(**parameters)


class TestShapes(DatasetConformance):
    @pytest.fixture
    def dataset(self):
        return DatasetSubject("shapes", lambda: made("dataset", "shapes", count=16))


class TestShapesMetric(MetricConformance):
    @pytest.fixture
    def metric(self):
        items = made("dataset", "shapes", count=8).items()
        edits = [Measured(item, item.picture(), item.truth()) for item in items[:3]]
        return MetricSubject("shapes-1", made("metric", "shapes-1"), lambda: edits, likeness=False)
