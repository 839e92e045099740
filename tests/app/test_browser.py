"""In a browser: a whole edit by clicks, cancelling, a bad picture, the keyboard alone, two visitors."""

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from headrouter_app.serving import Server
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

# gradio counts its events with pandas, in ways that pandas 3 deprecates
pytestmark = pytest.mark.filterwarnings(
    "ignore:'future.no_silent_downcasting' is deprecated", "ignore:The copy keyword is deprecated"
)
PATIENCE = 60


def until(driver: Chrome, condition: Callable[[Chrome], Any]) -> Any:
    return WebDriverWait(driver, PATIENCE, ignored_exceptions=[Exception]).until(condition)


def one(driver: Chrome, selector: str) -> Any:
    return until(driver, lambda driver: driver.find_element(By.CSS_SELECTOR, selector))


def text(driver: Chrome, selector: str) -> str:
    return str(driver.find_element(By.CSS_SELECTOR, selector).text)


def value(driver: Chrome, selector: str) -> str:
    return str(one(driver, selector).get_attribute("value"))


def begun(driver: Chrome, server: Server) -> None:
    driver.get(server.address)
    one(driver, "#preset")


def with_example(driver: Chrome, steps: int) -> None:
    one(driver, "#example-0").click()
    until(driver, lambda driver: value(driver, "#prompts textarea"))
    one(driver, "#knob-steps input").send_keys(str(steps))


@pytest.fixture
def opened(driver: Chrome, server: Server) -> Chrome:
    begun(driver, server)
    return driver


def test_an_edit_by_clicks_and_another_visitor(opened: Chrome, server: Server) -> None:
    with_example(opened, 2)
    one(opened, "#run").click()
    until(opened, lambda driver: "Done" in text(driver, "#status"))
    address = str(one(opened, "#slider-0 img").get_attribute("src"))
    one(opened, "#words-0 input").click()
    assert one(opened, "#words-picture img")
    assert one(opened, "#history img")
    origins = opened.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert {urlsplit(name).netloc for name in origins if not name.startswith(("data:", "blob:"))} == {
        urlsplit(server.address).netloc
    }
    assert [line for line in opened.get_log("browser") if line["level"] == "SEVERE"] == []  # type: ignore[no-untyped-call]
    assert all(path.is_relative_to(server.folder) for path in Path(server.folder).rglob("*.png"))
    first = opened.current_window_handle
    opened.switch_to.new_window("tab")
    begun(opened, server)
    assert not opened.find_elements(By.CSS_SELECTOR, "#slider-0, #history, #details")
    known = urlsplit(address).path.partition("file=")[2]
    assert Path(known).is_relative_to(server.folder)
    for guess in (server.folder, str(Path(known).parent), "/etc/hostname", f"{server.folder}/../x", __file__):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{server.address}gradio_api/file={guess}")
    opened.close()
    opened.switch_to.window(first)


def test_an_edit_is_cancelled(opened: Chrome) -> None:
    with_example(opened, 900)
    one(opened, "#run").click()
    until(opened, lambda driver: "/900" in text(driver, "#status"))
    one(opened, "#cancel").click()
    until(opened, lambda driver: "Cancelled" in text(driver, "#status"))


def test_a_bad_picture_is_refused_in_words(opened: Chrome, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_text("no picture")
    one(opened, "#picture input[type=file]").send_keys(str(tmp_path / "photo.png"))
    one(opened, "#picture img")
    one(opened, "#prompts textarea").send_keys("a red star")
    one(opened, "#run").click()
    until(opened, lambda driver: "is not a picture in a known format" in text(driver, "body"))


def test_the_keyboard_is_enough(opened: Chrome) -> None:
    def reach(name: str) -> None:
        for _ in range(60):
            opened.switch_to.active_element.send_keys(Keys.TAB)
            if opened.execute_script("return !!document.activeElement.closest(arguments[0])", f"#{name}"):
                return
        raise AssertionError(f"#{name} is out of reach")

    reach("example-0")
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    until(opened, lambda driver: value(driver, "#prompts textarea"))
    reach("knob-steps")
    opened.switch_to.active_element.send_keys("1")
    reach("run")
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    until(opened, lambda driver: "Done" in text(driver, "#status"))
    reach("flip-0")
    opened.switch_to.active_element.send_keys(Keys.ENTER)
