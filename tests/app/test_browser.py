"""In a browser: a whole edit by clicks, cancelling, a bad picture, the keyboard alone, two visitors, a painted mask."""

import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from headrouter_app.serving import Server
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from headrouter.imaging.picture import load_picture

# gradio counts its events with pandas, in ways that pandas 3 deprecates
pytestmark = pytest.mark.filterwarnings(
    "ignore:'future.no_silent_downcasting' is deprecated", "ignore:The copy keyword is deprecated"
)
PATIENCE = 60


def until(driver: Chrome, condition: Callable[[Chrome], Any]) -> Any:
    return WebDriverWait(driver, PATIENCE, ignored_exceptions=[Exception]).until(condition)


def one(driver: Chrome, selector: str) -> Any:
    return until(driver, lambda driver: driver.find_element(By.CSS_SELECTOR, selector))


def click(driver: Chrome, selector: str) -> None:
    """Click as soon as it can be clicked: what is laid out anew moves, and may be replaced between finding and clicking."""
    until(driver, lambda driver: driver.find_element(By.CSS_SELECTOR, selector).click() is None)


def text(driver: Chrome, selector: str) -> str:
    return str(driver.find_element(By.CSS_SELECTOR, selector).text)


def value(driver: Chrome, selector: str) -> str:
    return str(one(driver, selector).get_attribute("value"))


def begun(driver: Chrome, server: Server) -> None:
    driver.get(server.address)
    one(driver, "#knob-preset")


def with_example(driver: Chrome, steps: int) -> None:
    click(driver, "#example-0")
    until(
        driver,
        lambda driver: value(driver, "#prompts textarea") and driver.find_element(By.CSS_SELECTOR, "#picture img"),
    )
    one(driver, "#knob-steps input").send_keys(str(steps))


@pytest.fixture
def opened(driver: Chrome, server: Server) -> Chrome:
    begun(driver, server)
    return driver


def test_an_edit_by_clicks_and_another_visitor(opened: Chrome, server: Server) -> None:
    with_example(opened, 2)
    click(opened, "#run")
    until(opened, lambda driver: "Done" in text(driver, "#status"))
    address = str(one(opened, "#slider-0 img").get_attribute("src"))
    click(opened, "#words-0 input")
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
    click(opened, "#run")
    until(opened, lambda driver: "/900" in text(driver, "#status"))
    click(opened, "#cancel")
    until(opened, lambda driver: "Cancelled" in text(driver, "#status"))


def test_a_bad_picture_is_refused_in_words(opened: Chrome, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_text("no picture")
    one(opened, "#picture input[type=file]").send_keys(str(tmp_path / "photo.png"))
    one(opened, "#picture img")
    one(opened, "#prompts textarea").send_keys("a red star")
    click(opened, "#run")
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
    one(opened, "#knob-steps input")
    reach("run")
    back = opened.switch_to.active_element
    reach("knob-steps")
    opened.switch_to.active_element.send_keys("1")
    back.send_keys(Keys.ENTER)
    one(opened, "#flip-0")
    reach("flip-0")
    opened.switch_to.active_element.send_keys(Keys.ENTER)


def choose(driver: Chrome, kind: str, name: str) -> None:
    click(driver, f"#part-{kind} input")
    click(driver, f"li[aria-label={name}]")
    driver.execute_script("document.activeElement.blur()")


def pictures(driver: Chrome) -> list[str]:
    return [str(one.get_attribute("src")) for one in driver.find_elements(By.CSS_SELECTOR, "#slider-0 img")]


def press(driver: Chrome, selector: str) -> None:
    """Click, even where a message lies over it."""
    driver.execute_script("arguments[0].click()", one(driver, selector))


def write(driver: Chrome, selector: str, content: str) -> None:
    """Replace the content of a field, even where it lies in a closed accordion."""
    script = (
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}));"
        "arguments[0].dispatchEvent(new Event('change', {bubbles: true}))"
    )
    driver.execute_script(script, one(driver, selector), content)


def test_a_painted_mask_is_used_shown_changed_downloaded_and_put_back(opened: Chrome, tmp_path: Path) -> None:
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    with_example(opened, 1)
    click(opened, "#parts button")
    choose(opened, "operator", "mask")
    one(opened, "#of-operator-mask")
    choose(opened, "mask", "picture")
    one(opened, "#brush canvas")
    until(opened, lambda driver: driver.find_element(By.CSS_SELECTOR, "#brush [aria-label=Undo]").is_enabled())
    write(opened, "#knob-keep input", "0.3")
    write(opened, "#operator-mask-strength input[type=number]", "0.9")

    def edited(driver: Chrome) -> Any:  # the brush may still be on its way to the picture
        canvas = driver.find_element(By.CSS_SELECTOR, "#brush canvas")
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        stroke = ActionChains(driver).move_to_element_with_offset(canvas, -40, -60).click_and_hold()
        stroke.move_by_offset(0, 30).move_by_offset(0, 30).move_by_offset(10, 0).release().pause(1).perform()
        press(driver, "#run")
        return WebDriverWait(driver, 5).until(lambda driver: "Done" in text(driver, "#status"))

    until(opened, edited)
    one(opened, "#slider-0 img")
    edit = pictures(opened)
    press(opened, "#view-0 label:last-child input")
    until(opened, lambda driver: pictures(driver) != edit)
    press(opened, "#download")
    (file,) = until(opened, lambda driver: [*tmp_path.glob("*.zip")])
    with zipfile.ZipFile(file) as archive:
        assert {"source.png", "edit-0.png", "mask-0.png", "result.json"} == {*archive.namelist()}
        mask = load_picture(archive.read("mask-0.png"))
    assert 0 < np.asarray(mask).mean() < 64
    choose(opened, "mask", "words")
    until(opened, lambda driver: not driver.find_elements(By.CSS_SELECTOR, "#brush canvas"))
    one(opened, "#of-mask-words")
    assert value(opened, "#knob-keep input") == "0.3"  # which is kept when other parts are chosen
    press(opened, "#change-mask")
    one(opened, "#brush canvas")
    until(opened, lambda driver: value(driver, "#part-mask input") == "picture")
    until(opened, lambda driver: not driver.find_elements(By.CSS_SELECTOR, "#of-mask-words"))
    press(opened, "#run")
    until(opened, lambda driver: len(driver.find_elements(By.CSS_SELECTOR, "#history img")) == 2)
    until(opened, lambda driver: driver.find_element(By.CSS_SELECTOR, "#words-0 input").is_displayed())
    before = pictures(opened)
    write(opened, "#knob-keep input", "0.8")
    write(opened, "#operator-mask-strength input[type=number]", "0.1")
    write(opened, "#knob-seed input", "7")
    choose(opened, "mask", "words")
    one(opened, "#of-mask-words")
    press(opened, "#use")
    until(opened, lambda driver: value(driver, "#knob-keep input") == "0.3")
    until(opened, lambda driver: not driver.find_elements(By.CSS_SELECTOR, "#of-mask-words"))
    until(opened, lambda driver: value(driver, "#operator-mask-strength input[type=number]") == "0.9")
    until(opened, lambda driver: value(driver, "#knob-seed input") == "0")
    one(opened, "#brush canvas")
    press(opened, "#run")
    until(opened, lambda driver: len(driver.find_elements(By.CSS_SELECTOR, "#history img")) == 3)
    until(opened, lambda driver: pictures(driver) == before)  # files are named by their contents
