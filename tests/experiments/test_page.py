"""The page of an experiment: its numbers are those of table.csv, its pictures are there, what is missing is said."""

import csv
import dataclasses
import html
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from browser import chromium, screen
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from experiments import light
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import OtherConfiguration
from headrouter.experiments.experiment import Experiment
from headrouter.experiments.page.gathering import gather
from headrouter.experiments.page.writing import write_page
from headrouter.experiments.published.comparison import Cell, Comparison, Line
from headrouter.experiments.results.paired import compare_all
from headrouter.experiments.results.report import Results, report
from headrouter.experiments.results.tables import cell
from headrouter.experiments.running.runner import run
from headrouter.imaging.picture import load_picture
from headrouter.plugins import reload

STRANGE = "<img src=x onerror=document.title='broken'> </script> **bold** $x_1$ \\textbf{y} & \"quoted\" ‘\u2028’ 🐶"
SHORT = " <b>**a**$x_1$"
"""Few words, since the toy reads few."""
GROUP = "runtime-toy"


def compared(**data: Any) -> Experiment:
    chosen = {
        "pictures": 14,
        "sizes": ((32, 32), (48, 32), (256, 200)),
        "broken": (2,),
        "suffix": SHORT,
        "instruction": STRANGE,
    }
    one = light.experiment(
        light.toy("euler"),
        light.toy("steered <b>", "euler", "headrouter"),
        light.toy("rf gamma=0.5", "rf", "headrouter"),
        OtherConfiguration("upside", light.Upside(fails_on="green noise number 1 ")),
        **{**chosen, **data},
    )
    return dataclasses.replace(one, baseline="euler", diagnostics=("words", "heads"))


@pytest.fixture(autouse=True, scope="module")
def _light() -> Iterator[None]:
    light.registered()
    yield
    reload()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a failed edit, a picture of the data set that is gone, and a page beside it."""
    folder = tmp_path_factory.mktemp("made") / "run"
    run(compared(), folder, progress=False)
    report(folder)
    return folder


@pytest.fixture
def harmed(made: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged; without the page."""
    return Path(shutil.copytree(made, tmp_path / "run", ignore=shutil.ignore_patterns("report")))


def data(page: Path, name: str = "summary") -> Any:
    text = (page / "data" / f"{name}.js").read_text()
    assert text.startswith(f'Report.receive("{name}",') and "<" not in text
    return json.loads(text[len(f'Report.receive("{name}",') : -len(");\n")])


def addresses(page: Path) -> set[str]:
    """Return all pictures that a page shows."""
    chunks = [data(page, path.stem) for path in (page / "data").glob("rows-*.js")]
    shown = [one for chunk in chunks for row in chunk for one in (*row["of"].values(), *filter(None, row["cells"]))]
    return {unquote(one[name]) for one in shown for name in ("picture", "thumbnail") if name in one}


def test_the_numbers_are_those_of_the_table(made: Path) -> None:
    summary, seen = data(made / "report"), 0
    names = [one["name"] for one in summary["columns"]]
    known = {(one["group"].replace("other editors", ""), one["name"]): one for one in summary["configurations"]}
    for line in csv.DictReader((made / "table.csv").read_text().splitlines()):
        one = known[line["backbone"], line["configuration"]]
        if line["column"] not in names:
            place = ("calls", "rows", "seconds", "processor").index(line["column"])
            assert one["cost"][place] == float(line["mean"])
            continue
        found = one["means"][line["kind"]][names.index(line["column"])]
        if int(line["count"]):
            expected = [None if line[key] in ("inf", "-inf") else float(line[key]) for key in ("mean", "low", "high")]
            assert found[:4] == [*expected, int(line["count"])]
            seen += 1
        else:
            assert found is None
    assert seen > 20
    results = Results.of(gather(made))
    for pair in results.paired:
        found = known[pair.backbone, pair.configuration]["differences"]["all"][names.index("likeness-1.psnr")]
        value = pair.values["likeness-1.psnr"]
        assert found == [
            value.value,
            value.low,
            value.high,
            value.count,
            cell(value, results.columns["likeness-1.psnr"], False),
        ]
    assert Results.of(gather(made), "runtime-toy/euler").paired == results.paired, "by its key, as in the file"
    with pytest.raises(InvalidInputError, match=r"'flux/euler' is none of .*, euler, .* its key, such as"):
        Results.of(gather(made), "flux/euler")
    reds = [row for row in results.rows if row.kind == "red"]
    steered = next(one for one in compare_all(reds, "euler", results.columns) if one.configuration == "steered <b>")
    found = known["runtime:toy", "steered <b>"]["differences"]["red"][names.index("likeness-1.psnr")]
    assert found[0] == steered.values["likeness-1.psnr"].value


def test_every_picture_is_there_and_large_ones_have_thumbnails(made: Path) -> None:
    page = made / "report"
    found = addresses(page)
    assert not [one for one in found if not (page / one).is_file()]
    thumbnails = [one for one in found if "thumbnails" in one]
    assert thumbnails and {max(load_picture(page / one).size) for one in thumbnails} == {192}
    assert sum(one.startswith("../") for one in found) == len([one for one in gather(made).every if one.edited])


def test_another_report_makes_no_picture_again(made: Path) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in (made / "report").rglob("*.[pw]*") if "assets" not in path.parts
    }
    report(made)
    assert len(before) > 20 and all(path.stat().st_mtime_ns == at for path, at in before.items())


def test_a_page_of_its_own_needs_no_run_folder(made: Path, tmp_path: Path) -> None:
    page = report(made, page=tmp_path / "page").files[-1].parent
    found = addresses(page)
    assert found and not [one for one in found if one.startswith("..") or not (page / one).is_file()]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(InvalidInputError, match="holds other files"):
        report(made, page=tmp_path / "full")


def test_the_page_in_the_documentation_is_whole_and_small() -> None:
    page = Path(__file__).parents[2] / "docs" / "reports" / "shapes-ablation"
    files = [path for path in page.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_000_000
    assert {path.relative_to(page).as_posix() for path in files if path.parent.name == "pictures"} == addresses(page)
    summary = data(page)
    assert {len(summary["rows"]), *(one["done"] for one in summary["configurations"])} == {16}
    assert not [path for path in files if path.suffix != ".png" and "/tmp/" in path.read_text()]


def test_texts_of_a_data_set_stay_texts(made: Path) -> None:
    rows = data(made / "report")["rows"]
    assert all(SHORT in row[5] and row[6] == STRANGE for row in rows)
    told = dataclasses.replace(gather(made), problems=[STRANGE])
    text = write_page(told, made.parent / "told", "euler").read_text()
    assert "<img" not in text and STRANGE in html.unescape(text)


def _append(folder: Path, line: bytes) -> None:
    path = next((folder / "records").glob("*.jsonl"))
    path.write_bytes(line + path.read_bytes())


def _of_another_data_set(folder: Path) -> None:
    lock = json.loads((folder / "lock.json").read_text())
    lock["dataset"]["revision"] = "another"
    (folder / "lock.json").write_text(json.dumps(lock))


HARMS: list[tuple[str, Callable[[Path], Any], str]] = [
    ("lock", lambda run: (run / "lock.json").unlink(), "lock.json' is missing"),
    ("broken lock", lambda run: (run / "lock.json").write_text("{"), "lock.json' is damaged"),
    ("configuration", lambda run: next((run / "configurations" / GROUP).glob("euler*")).write_text("{}"), "is damaged"),
    ("no configuration", lambda run: next((run / "configurations" / GROUP).glob("euler*")).unlink(), "Nothing says what"),
    ("line", lambda run: _append(run, b'{"cell": 1}\n'), "damaged line"),
    ("metric", lambda run: (run / "metrics" / "likeness-1.json").write_text('{"columns": {"psnr": 3}}'), "likeness-1"),
    ("picture", lambda run: (run / "pictures" / GROUP / "euler/0/001-0.png").unlink(), "001-0.png' is missing"),
    ("broken picture", lambda run: (run / "pictures" / GROUP / "euler/0/001-0.png").write_bytes(b"x"), "is damaged"),
    ("data set", _of_another_data_set, "The data set cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("harm", "sentence"), [one[1:] for one in HARMS], ids=[one[0] for one in HARMS])
def test_what_is_missing_is_said_and_the_rest_is_shown(
    harm: Callable[[Path], Any], sentence: str, harmed: Path
) -> None:
    harm(harmed)
    page = write_page(gather(harmed), harmed / "report", "euler").parent
    assert sentence in (page / "index.html").read_text().replace("&#39;", "'")
    summary = data(page)
    assert len(summary["configurations"]) == 4 and len(summary["rows"]) == 28
    assert sum(one["done"] for one in summary["configurations"]) == 4 * 26 - 1


def test_tables_do_without_pictures_that_are_damaged(harmed: Path) -> None:
    (harmed / "pictures" / GROUP / "euler/0/001-0.png").write_bytes(b"x")
    assert {path.name for path in report(harmed).files} >= {"table.csv", "edits-runtime:toy.png", "index.html"}


def test_a_run_without_a_finished_edit_has_a_page_that_says_so(harmed: Path) -> None:
    shutil.rmtree(harmed / "records")
    found = report(harmed)
    assert "no finished edit" in found.problems[-1] and [path.name for path in found.files] == ["index.html"]
    text = (harmed / "report" / "index.html").read_text()
    assert "0 cells are done, 0 failed, 112 are left" in text
    with pytest.raises(InvalidInputError, match="is no run folder"):
        report(harmed / "pictures")


def test_a_run_that_goes_on_is_said_to(harmed: Path) -> None:
    (harmed / "processes").mkdir(exist_ok=True)
    (harmed / "processes" / "elsewhere+boot+1+2+3.json").write_text('{"host": "elsewhere", "number": 1}')
    text = write_page(gather(harmed), harmed / "report", "euler").read_text()
    assert "The run goes on:</b> 1 process at work" in text


def test_published_figures_are_on_the_page_as_such(made: Path, tmp_path: Path) -> None:
    line = Line("published", [Cell("theirs"), Cell("0.9", ("a",))])
    one = Comparison("Table 1", "a paper", ["system", "PSNR"], [line], [("a", "of 8 bits")])
    write_page(gather(made), tmp_path / "page", "euler", [one])
    (found,) = data(tmp_path / "page")["published"]
    assert found["lines"] == [{"origin": "published", "cells": ["theirs", "0.9 a"], "remark": ""}]


def test_a_published_table_has_its_marks_raised_and_says_what_is_missing(
    made: Path, tmp_path: Path, driver: Chrome
) -> None:
    lines = [
        Line(
            "ours", [Cell("ours"), Cell("rf", ("a",)), Cell("toy"), Cell("25.9 [25.1, 26.7]", ("a", "b")), Cell("1 c")]
        ),
        Line("missing", [Cell("missing"), Cell("theirs"), Cell("toy"), Cell("–"), Cell("–")], "It is not there."),
    ]
    headings, notes = ["whose", "system", "model", "PSNR", "SSIM"], [("a", "of 8 bits"), ("b", "of 10 edits")]
    page = write_page(
        gather(made), tmp_path / "page", "euler", [Comparison("Table 1", "a paper", headings, lines, notes)]
    )
    driver.get(f"{page.as_uri()}#view=tables")
    script = "return [...document.querySelectorAll('.published tbody tr')].map((row) => [...row.cells].map((one) => one.innerHTML))"
    ours, missing = driver.execute_script(script)
    assert ours[1:] == ["rf<sup> a</sup>", "toy", "25.9<small> [25.1, 26.7]</small><sup> a,b</sup>", "1 c"]
    assert missing[1:] == ["theirs", "toy", "It is not there."]


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    with chromium() as found:
        yield found


@pytest.fixture
def see(made: Path, driver: Chrome) -> Callable[..., Chrome]:
    """Open the page in some state, after which a test looks; nothing may be logged, nor loaded from elsewhere."""

    def opened(state: str = "", width: int = 1200, height: int = 900, page: Path | None = None, **media: str) -> Chrome:
        screen(driver, width, height, **media)
        driver.get("about:blank")
        driver.get(f"{((page or made / 'report') / 'index.html').as_uri()}#{state}")
        loaded = driver.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
        assert all(one.startswith("file:") for one in loaded)
        return driver

    return opened


def all_of(driver: Chrome, selector: str, least: int = 1) -> list[Any]:
    """Return elements as soon as there are ``least`` of them."""
    ends = time.monotonic() + 20
    while len(found := driver.find_elements(By.CSS_SELECTOR, selector)) < least and time.monotonic() < ends:
        time.sleep(0.02)
    assert len(found) >= least, f"{selector} in {driver.current_url}"
    return found


def first(driver: Chrome, selector: str) -> Any:
    return all_of(driver, selector)[0]


def logged(driver: Chrome) -> list[str]:
    return [one["message"] for one in driver.get_log("browser")]  # type: ignore[no-untyped-call]


VIEWS = ("overview", "tables", "pictures", "failures", "files")


def test_no_view_complains_or_is_wider_than_a_phone(see: Callable[..., Chrome]) -> None:
    for view in VIEWS:
        driver = see(f"view={view}", 390, 800)
        all_of(driver, "main h2")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 390, view
        assert driver.title.endswith("report of an experiment") and logged(driver) == []


def test_dark_is_dark(see: Callable[..., Chrome]) -> None:
    paper = "return getComputedStyle(document.body).backgroundColor"
    light_one = see(prefers_color_scheme="light").execute_script(paper)
    driver = see(prefers_color_scheme="dark")
    assert (light_one, driver.execute_script(paper)) == ("rgb(255, 255, 255)", "rgb(20, 23, 26)")
    first(driver, "#theme").click()
    assert driver.execute_script(paper) == light_one
    first(driver, "#theme").click()


def test_tables_are_sorted_and_filtered(see: Callable[..., Chrome], made: Path) -> None:
    driver = see("view=tables&group=runtime:toy")
    names = lambda: [one.text for one in all_of(driver, "tbody th")]  # noqa: E731
    assert names() == ["euler", "steered <b>", "rf gamma=0.5"]
    all_of(driver, "thead button")[1].click()
    means = {one["name"]: one["means"]["all"][0][0] for one in data(made / "report")["configurations"]}
    assert names() == sorted(names(), key=lambda name: -means[name]) and means["euler"] > means["rf gamma=0.5"]
    all_of(driver, "thead button")[1].click()
    assert names() == sorted(names(), key=lambda name: means[name])
    first(driver, "input[name=name]").send_keys("RF")
    assert names() == ["rf gamma=0.5"]
    driver = see("view=tables&show=differences&kind=red")
    assert [one.text for one in all_of(driver, "tbody th")] == ["upside", "steered <b>", "rf gamma=0.5"]
    assert all_of(driver, "td.worse") and logged(driver) == []


def test_a_point_leads_to_its_pictures(see: Callable[..., Chrome]) -> None:
    driver = see("across=0&up=1")
    points = all_of(driver, "a.point", 4)
    assert "likeness" not in points[-1].get_attribute("aria-label")
    driver.execute_script("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", points[-1])
    heads = [one.text for one in all_of(driver, ".pictures thead th", 6)]
    assert heads[:4] == ["edit", "source", "true result", "rf gamma=0.5"]


def test_pictures_pages_gaps_and_failures(see: Callable[..., Chrome], harmed: Path) -> None:
    (harmed / "pictures" / GROUP / "euler/0/000-0.png").unlink()
    page = report(harmed).files[-1].parent
    driver = see("view=pictures&group=every", page=page)
    rows = all_of(driver, "tbody tr", 24)
    assert "1 / 2" in first(driver, ".pages").text
    assert len(rows[0].find_elements(By.CSS_SELECTOR, ".gap.missing")) == 1
    assert SHORT.strip() in rows[0].text and "</script> **bold** $x_1$ \\textbf{y}" in rows[0].text
    assert not driver.find_elements(By.CSS_SELECTOR, "tbody th img")
    assert "no green" in rows[3].find_element(By.CSS_SELECTOR, ".gap.failed").text
    assert all("the picture is gone" in one.text for one in rows[4].find_elements(By.CSS_SELECTOR, ".gap.failed"))
    first(driver, ".pages a:not(.off)").click()
    assert len(all_of(driver, "tbody tr", 1)) in (4, 24)
    driver = see("view=pictures&only=failed&group=every", page=page)
    assert len(all_of(driver, "tbody tr", 3)) == 3
    driver = see("view=pictures&rank=best&value=0&group=runtime:toy", page=page)
    shown = [float(one.text) for one in all_of(driver, "td:nth-child(4) .value", 20) if one.text not in ("–", "")]
    assert shown == sorted(shown, reverse=True) and len(shown) > 15
    (page / "data" / "rows-0.js").unlink()
    assert "rows-0.js is missing" in first(see("view=pictures", page=page), "[role=alert]").text
    assert len(logged(driver)) == 1


def test_a_cell_at_full_size_by_keyboard(see: Callable[..., Chrome]) -> None:
    driver = see("view=pictures&group=runtime:toy")
    button = all_of(driver, "button.cell", 20)[0]
    button.send_keys(Keys.ARROW_RIGHT)
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert "steered <b>" in first(driver, "dialog[open] h2").text
    slider = first(driver, ".frame.slider + form input[type=range]")
    slider.send_keys(Keys.ARROW_LEFT)
    assert driver.execute_script("return document.querySelector('.frame').style.getPropertyValue('--at')") == "49.5%"
    body = first(driver, "dialog .stage")
    body.send_keys("f")
    first(driver, ".frame.flip").click()
    assert "shows the source" in first(driver, ".flipper").text
    first(driver, "dialog .stage").send_keys("d")
    assert "difference × 4" in first(driver, ".frame.difference + form").text
    first(driver, "dialog .stage").send_keys("m")
    assert first(driver, ".frame canvas.over") and first(driver, ".heads canvas")
    first(driver, "dialog .stage").send_keys(Keys.ARROW_RIGHT)
    time.sleep(0.1)
    assert "rf gamma=0.5" in first(driver, "dialog h2").text
    code = first(driver, "dialog pre").text
    assert code == "headrouter experiment run runtime-toy-rf-gamma=0.5.yaml -o again --item 000-0 --set 'seeds=[0]'"
    driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    first(driver, "dialog .copy").click()
    assert driver.execute_async_script("navigator.clipboard.readText().then(arguments[0], arguments[0])") == code
    first(driver, "dialog .stage").send_keys(Keys.ESCAPE)
    assert not driver.find_elements(By.CSS_SELECTOR, "dialog[open]") and logged(driver) == []
