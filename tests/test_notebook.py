"""The notebook of the documentation: it runs from top to bottom, and its stored outputs are small and whole."""

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "tour.ipynb"
LARGEST = 300_000


def outputs(notebook: Any) -> list[list[Any]]:
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def kinds(notebook: Any) -> list[list[str]]:
    """The kinds of what each cell gives, without what libraries write beside it."""
    return [[one.output_type for one in own if one.get("name") != "stderr"] for own in outputs(notebook)]


def printed(notebook: Any) -> str:
    return "".join(one.text for own in outputs(notebook) for one in own if one.get("name") == "stdout")


def test_the_notebook_runs_from_top_to_bottom_and_gives_what_is_stored(tmp_path: Path) -> None:
    stored, run = nbformat.read(NOTEBOOK, 4), nbformat.read(NOTEBOOK, 4)
    assert all(kinds(stored)), "a cell without output"
    for cell in run.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    client = NotebookClient(run, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute()  # raises the error of a cell
    assert kinds(run) == kinds(stored)
    for notebook in (stored, run):
        lines = printed(notebook).splitlines()
        assert {line.split()[0]: line.split()[1] for line in lines[-6:]} | {"too": ""} == {
            "preset": "yes",
            "careful": "yes",
            "too": "",
            "blended": "yes",
            "flowedit": "yes",
            "louder": "yes",
        }


def test_what_is_stored_is_small_and_of_no_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < LARGEST
    assert not [word for word in ("site-packages", "/home", "/work", "/tmp", "Traceback") if word in text]
