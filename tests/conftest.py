"""What all tests share: patience with busy machines, and a processor whose rounding depends on the batch."""

import functools
import gc
from collections.abc import Generator, Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch.overrides import _get_current_function_mode_stack

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--batch-rounding",
        action="store_true",
        help="Round products of matrices by the number of rows in the batch, as some processors' kernels do: what is asserted "
        "equal to the bit must be so within one batch, not between batches.",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave the million objects that collecting makes out of garbage collection, which checks of methods ask for at each step."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_unconfigure() -> None:
    """Let the interpreter free them when it ends."""
    gc.unfreeze()


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


@pytest.fixture(autouse=True)
def _pytorch_is_left_as_it_was() -> Iterator[None]:
    """Name the test that leaves a mode behind, not the later one that fails of it."""
    yield
    left = {
        "function modes": list(_get_current_function_mode_stack()),
        "gradients": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "default number type": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
    }
    for _ in left["function modes"]:
        torch._C._pop_torch_function_stack()
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    assert left == dict(zip(left, ([], True, False, False, torch.float32, torch.device("cpu")), strict=True))
