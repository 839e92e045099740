"""One loaded model, one page and one browser for all tests of the page."""

import socket
from collections.abc import Iterator

import pytest
from browser import chromium, screen
from headrouter_app.running import Studio
from headrouter_app.serving import Server, served
from selenium.webdriver import Chrome


@pytest.fixture(scope="package")
def studio() -> Studio:
    return Studio.load("sd3.5", "shapes", {})


@pytest.fixture(scope="package")
def server(studio: Studio) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as probe:  # workers begin at once, and would try the same ports
        port = probe.getsockname()[1]
    with served(studio, "127.0.0.1", port) as one:
        yield one


@pytest.fixture(scope="package")
def driver() -> Iterator[Chrome]:
    with chromium() as one:
        screen(one, 1280, 1000)
        yield one
