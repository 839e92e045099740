"""``headrouter conformance NAME --model FOLDER``: the kit, over weights that somebody has."""

import json
from pathlib import Path

import pytest
from headrouter_diffusers.testing import tiny_sd35

from headrouter.cli import main


def test_weights_in_a_folder_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_sd35().save_pretrained(tmp_path / "model")
    assert main(["conformance", "sd3.5", "--model", str(tmp_path / "model"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    checked = [result for result in results if str(tmp_path / "model") in result["subject"]]
    assert {result["subject"] for result in results} == {checked[0]["subject"]}, "none of its own small models"
    assert sum(result["outcome"] == "passed" for result in checked) > 20
    said = [result["message"].replace("reference-pictures", "") for result in checked]
    assert not [message for message in said if "reference" in message], "the reference is used"


@pytest.mark.parametrize(
    ("name", "model", "says"),
    [
        ("sd3.5", "./nowhere", "'./nowhere' is neither a folder here nor a hub id"),
        ("sd3.5", "a\0b", "`model`"),
        ("flux", ".", "has no model_index.json"),
        ("euler", ".", "`--model` gives weights to a backbone, and 'euler' is none"),
    ],
)
def test_weights_that_cannot_be_checked(
    name: str,
    model: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["conformance", name, "--model", model]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.out == ""
