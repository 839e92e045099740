"""Headless Chromium for tests of pages, driven by selenium; both are of the system's packages, installed by `make setup`."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no network, whatever a page asks for
)


@contextmanager
def chromium() -> Iterator[Chrome]:
    """Start a browser that keeps what pages log; a test that needs it fails where it is not installed."""
    found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if missing := [name for name, path in found.items() if path is None]:
        pytest.fail(
            f"{' and '.join(missing)} is not installed, which the tests of pages need. `make setup` installs both with apt-get as "
            "root; else: sudo apt-get install chromium chromium-driver."
        )
    options = Options()
    options.binary_location = found["chromium"] or ""
    for switch in SWITCHES:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(found["chromedriver"]))
    try:
        yield driver
    finally:
        driver.quit()


def screen(driver: Chrome, width: int, height: int, **media: str) -> None:
    """Take a size of the window, and media features such as ``prefers_color_scheme="dark"``."""
    size: Mapping[str, Any] = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", dict(size))
    features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
