"""What all tests share: patience with busy machines, and a processor whose rounding depends on the batch."""

import functools
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--batch-rounding",
        action="store_true",
        help="Round products of matrices by the number of rows in the batch, as some processors' kernels do: what is asserted "
        "equal to the bit must be so within one batch, not between batches.",
    )


@pytest.fixture(autouse=True, scope="session")
def _batch_rounding(request: pytest.FixtureRequest) -> Iterator[None]:
    """A linear layer's output, off by 2⁻²² of itself for each row of its input."""
    if not request.config.getoption("--batch-rounding"):
        yield
        return
    plain = torch.nn.Linear.forward

    @functools.wraps(plain)
    def rounded(layer: torch.nn.Linear, given: torch.Tensor) -> torch.Tensor:
        return plain(layer, given) * (1 + 2.0**-22 * len(given))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Linear, "forward", rounded)
        yield
