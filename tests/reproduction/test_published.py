"""Published tables, the choice of them in an experiment's file, and papers' tables, on figures with known answers."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from experiments.test_tables import CAREFUL, COLUMNS, RATES

from experiments import light
from headrouter.config.yaml_document import parse_yaml
from headrouter.errors import HeadRouterError, InvalidInputError
from headrouter.experiments import configure, read_experiment, report, run
from headrouter.experiments.file.schema import experiment_schema
from headrouter.experiments.metric import Column
from headrouter.experiments.published.choice import FILE, PublishedChoice, chosen_tables
from headrouter.experiments.published.comparison import as_csv, as_markdown, comparisons
from headrouter.experiments.published.table import known_tables, published_table
from headrouter.experiments.results.paper.figures import WIDTH, by_kind, trade_off
from headrouter.experiments.results.paper.latex import escaped, summary_table
from headrouter.experiments.results.paper.latex import published_table as latex_of_published
from headrouter.experiments.results.plots import axes_of
from headrouter.experiments.results.summary import summarise
from headrouter.experiments.run_folder.origin import Origin
from headrouter.plugins import reload

from . import conftest

OWN = """
title: Ours & theirs
source: nowhere, table 9
datasets: [noise]
edits: 8
columns:
  psnr: {title: PSNR, unit: dB, better: higher, digits: 2, beside: [likeness-1.psnr], protocol: same}
  share:
    {title: Same, better: higher, digits: 1, factor: 0.01, beside: [likeness-1.same], protocol: other, remark: Of the edited part.}
rows:
  toy: {system: Toy_1, model: toy, values: {psnr: 21.5, share: 40.0}, remark: By hand.}
  other: {system: "Other <b>", model: toy, values: {psnr: 20}}
"""


@pytest.fixture(autouse=True, scope="module")
def _light() -> Iterator[None]:
    light.registered()
    yield
    reload()


def test_every_table_that_comes_along_reads() -> None:
    for name in known_tables():
        table = published_table(name)
        assert all(column.protocol == "unconfirmed" and column.remark for column in table.columns.values())
        assert "arXiv:" in table.source or "repository" in table.source


def test_table_1_of_the_paper() -> None:
    """The figures of the paper's table, in its own order: SDEdit first, HeadRouter last."""
    table = published_table("headrouter-table-1")
    dino = (0.8377, 0.8559, 0.8722, 0.8744, 0.8909, 0.8963, 0.9029, 0.9194)
    clip = (0.3019, 0.2944, 0.2975, 0.2955, 0.3016, 0.3022, 0.3098, 0.3203)
    lpips = (0.2151, 0.2258, 0.2975, 0.3144, 0.2702, 0.2796, 0.2262, 0.2103)
    for name, values in (("dino", dino), ("clip", clip), ("lpips", lpips)):
        assert tuple(row.values[name] for row in table.rows.values()) == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "must be a mapping"),
        (OWN.replace("share: 40.0", "sahre: 40.0"), "has a value of 'sahre'"),
        (OWN.replace(", remark: Of the edited part.", ""), "must have a `remark`"),
        (OWN.replace("likeness-1.psnr", "psnr"), "METRIC.COLUMN"),
        (OWN.replace("source: nowhere, table 9\n", ""), "`source`"),
    ],
)
def test_a_table_without_source_or_protocol_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(InvalidInputError, match=said):
        published_table(str(tmp_path / "own.yaml"))


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"table": "firefly"}, "Did you mean 'fireflow'"),
        ({"table": "fireflow", "beside": {"toy/rf": "rf"}}, "has no row 'rf'"),
        ({"table": "fireflow", "beside": {"toy/fr": "rf-inversion"}}, "'toy/fr' is none of the configurations"),
        ({"table": "fireflow", "beside": {"rf": "pnp"}, "missing": {"pnp": "x"}}, "`missing` names 'pnp'"),
    ],
)
def test_a_choice_that_names_nothing_is_refused(choice: dict[str, Any], said: str) -> None:
    with pytest.raises(HeadRouterError, match=said):
        chosen_tables([PublishedChoice(**choice)], [light.toy("rf", "rf")])


def test_the_file_names_the_place_of_a_wrong_row_and_the_schema_knows_the_key() -> None:
    text = "dataset: shapes\nconfigurations: [{name: rf}]\npublished:\n  - {table: fireflow, beside: {rf: no}}\n"
    with pytest.raises(InvalidInputError, match=r"x\.yaml:4:5: `beside`: 'fireflow' has no row 'no'"):
        read_experiment(parse_yaml(text, "x.yaml"))
    schema = experiment_schema()
    assert schema["properties"]["published"]["items"]["$ref"].removeprefix("#/$defs/") in schema["$defs"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose table is one of the user's own."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "own.yaml").write_text(OWN)
    choice = PublishedChoice(table=str(folder / "own.yaml"), beside={"euler": "toy"}, missing={"other": "100 % & more"})
    configurations = [light.toy("euler")]
    experiment = replace(light.experiment(*configurations), published=tuple(chosen_tables([choice], configurations)))
    run(experiment, folder / "run", progress=False)
    return folder / "run"


def test_the_report_marks_what_is_published_and_by_another_protocol(compared: Path) -> None:
    (one,) = report(compared, paper=True).comparisons
    assert one.headings == ["whose", "system", "model", "PSNR, dB ↑", "same ↑"]
    published, ours, *rest = one.lines
    assert [str(cell) for cell in published.cells] == ["published", "Toy_1 a", "toy", "21.50", "40.0 b"]
    assert ours.origin == "ours" and not ours.cells[1].marks  # the same data, and all of it
    assert [line.origin for line in rest] == ["published", "missing"] and rest[1].remark == "100 % & more"
    assert dict(one.notes) == {"a": "By hand.", "b": "Another protocol than ours. Of the edited part."}
    text = (compared / "table.md").read_text()
    assert "| published | Toy_1 a | toy | 21.50 | 40.0 b |" in text and "- b: Another protocol than ours." in text
    written = (compared / "published.csv").read_text().splitlines()
    assert any(",published,Toy_1,toy," in line and ",40.0,By hand. Another protocol" in line for line in written)
    latex = (compared / "paper" / "published-1.tex").read_text()
    assert r"Toy\_1\textsuperscript{a} & toy & 21.50 & 40.0\textsuperscript{b} \\" in latex
    assert r"Other \textless{}b\textgreater{}" in latex and r"Missing: Other" in latex and r"100 \% \& more" in latex


def test_another_part_of_the_data_and_other_parameters_are_said(compared: Path) -> None:
    summaries = summarise([replace(row, backbone="toy", configuration="euler") for row in CAREFUL], COLUMNS)
    columns = {"l.psnr": Column("PSNR", "dB", "higher")}
    top = {"dataset": {"name": "shapes"}}
    found = comparisons(
        compared, Origin(top, {}, {"l": {"name": "likeness-1", "broken": ""}}), summaries, columns, set()
    )
    assert found[0].lines[1].cells[1].marks and "Ours over 16 edits of shapes." in dict(found[0].notes).values()
    assert found[0].lines[1].cells[3].text == "–"  # not measured: no figure is made up
    assert as_markdown([]) == "" and as_csv([]).count("\n") == 1


def test_a_damaged_choice_says_so(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared, tmp_path / "run")
    (tmp_path / "run" / FILE).write_text("{")
    found = report(tmp_path / "run")
    assert found.comparisons == [] and any("published.json' is damaged" in one for one in found.problems)


def test_specials_of_latex_are_printed_as_they_are() -> None:
    text = "\\ { } $ & # ^ _ ~ % < > | η × ³"
    assert escaped(text) == (
        r"\textbackslash{} \{ \} \$ \& \# \textasciicircum{} \_ \textasciitilde{} \% \textless{} \textgreater{} \textbar{} "
        r"$\eta$ $\times$ $^3$"
    )
    assert escaped("two\nlines") == "two lines"


def test_the_best_of_a_column_is_bold() -> None:
    worse = [replace(row, configuration="b_1", values={**row.values, "m-1.truth": 19.0}) for row in CAREFUL]
    rows = [*CAREFUL, *worse]
    text = summary_table(summarise(rows, COLUMNS), {"m-1.truth": COLUMNS["m-1.truth"]}, RATES, "of a\nrun")
    assert text.startswith("% of a run; needs") and r"\toprule" in text and text.count(r"\bottomrule") == 1
    assert r"careful & \textbf{20.0 {\scriptsize [20.0, 20.0]}} \\" in text
    assert r"b\_1 & 19.0 {\scriptsize [19.0, 19.0]} \\" in text
    assert "distance to truth, dB $\\uparrow$" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_takes_the_tables(compared: Path, tmp_path: Path) -> None:
    tables = "\n".join(rf"\input{{{path}}}" for path in sorted((compared / "paper").glob("*.tex")))
    (tmp_path / "x.tex").write_text(
        rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{tables}\end{{document}}"
    )
    subprocess.run(["pdflatex", "-halt-on-error", "x.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_figures_are_a_column_wide_without_a_title_and_in_grey(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    summaries = summarise([*CAREFUL, *(replace(row, configuration="bold & <new>") for row in CAREFUL)], COLUMNS)
    files = trade_off(summaries, COLUMNS, RATES, tmp_path / "t") + by_kind(summaries, COLUMNS, RATES, tmp_path / "k")
    assert [path.name for path in files] == ["t.svg", "t.pdf", "t.png", "k.svg", "k.pdf", "k.png"]
    svg = files[0].read_text()
    assert f'width="{72 * WIDTH:g}pt"' in svg and "<image" not in svg and "dc:date" not in svg
    with Image.open(files[2]) as picture:
        assert picture.width == round(600 * WIDTH)
        small = np.asarray(picture.convert("RGB").reduce(4)).astype(int)
    assert np.ptp(small, axis=-1).max() == 0
    again = trade_off(summaries, COLUMNS, RATES, tmp_path / "u")[0].read_text()
    assert again == svg  # to the bit, so that a paper's repository sees no change
    preservation = axes_of(COLUMNS, RATES)[1]
    still = [replace(row, configuration="unchanged", values={**row.values, preservation: 99.0}) for row in CAREFUL]
    more = [*summaries, *summarise(still, COLUMNS)]
    assert trade_off(more, COLUMNS, RATES, tmp_path / "v")[0].read_text() == svg, (
        "an unchanged picture squeezes the others"
    )
    assert by_kind(more, COLUMNS, RATES, tmp_path / "w")[0].read_text() == files[3].read_text()


def test_the_constants_of_the_files_are_those_of_the_presets() -> None:
    """Two places that say what authors publish, written apart: the files, and the presets of the parts."""

    def plain(part: Any) -> dict[str, Any]:
        values = {name: value for name, value in part.model_dump().items() if name not in ("steps", "guidance")}
        return values | ({"nu": 5.0} if values.get("token_form") == "literal" and values["nu"] is None else {})

    table = read_experiment(conftest.FILES / "headrouter-table1.yaml")
    found: dict[str, Any] = {one.name: one for one in table.configurations}
    for name in ("paper", "release"):
        preset = configure("x", "flux", "rf", "headrouter", model="dev", preset=name)
        assert plain(found[f"HeadRouter, {name}"].methods[0]) == plain(preset.methods[0])
    default = configure("x", "flux", "rf", "none", model="dev")
    assert plain(found["RF-Inversion"].inversion) == plain(default.inversion)
    flow = {one.key: one for one in read_experiment(conftest.FILES / "pie-bench-flow.yaml").configurations}
    for key, name, steps in (("flux/flowedit", "flux", 28), ("sd3.5/flowedit-for-SD3", "sd3", 50)):
        one: Any = flow[key]
        preset = configure("x", "flux", "flowedit", "none", model="dev", preset=f"flowedit-{name}", steps=steps)
        assert (plain(one.inversion), one.steps, one.guidance) == (plain(preset.inversion), steps, preset.guidance)


def test_the_latex_of_a_comparison_leaves_no_missing_line_in_the_table(compared: Path) -> None:
    (one,) = report(compared).comparisons
    body = latex_of_published(one, "x").partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    assert "missing" not in body and body.count(r"\\") == 3
