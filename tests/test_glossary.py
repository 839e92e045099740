"""Terms that the glossary replaced do not come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REPLACED = {
    r"Clock|event\.clock|stream\.clock": "StepInfo, step_info",
    r"Setting": "RunContext",
    r"Problem": "RunInputs",
    r"Moment": "StepOrFraction",
    r"[Ee]vidence": "diagnostics",
    r"Listener": "AttentionListener",
    r"Half|item\.half|twins?": "CfgBranch, cfg_branch",
    r"[Tt]rajectory|[Tt]rajectories": "inversion",
    r"Inverted(?! latents)": "InvertedLatents",
    r"others kept|kept if right": "others unchanged, preservation of successes",
}
KNOWS_OLD_NAMES = re.compile(
    r"renamed|_RENAMED|--config|--out|studies|images/|headrouter\.testing\.trajectories|`trajectories"
)
TELLS_OLD_NAMES = ("renamed.py", "glossary.md", "0034-names-of-before.md")
FILES = sorted(
    path
    for folder in ("headrouter", "adapters", "inversions", "plugins", "docs")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".md", ".txt") and path.name not in TELLS_OLD_NAMES
)


@pytest.mark.parametrize("old", REPLACED)
def test_a_replaced_term_does_not_come_back(old: str) -> None:
    pattern = re.compile(rf"(?<![\w-])(?:{old})(?![\w-])")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line) and not KNOWS_OLD_NAMES.search(line)
    ]
    assert not found, f"say {REPLACED[old]}: " + "\n".join(found)
