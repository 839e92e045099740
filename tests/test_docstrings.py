"""Docstrings begin with a short sentence that is understood without the code: a verb and a concrete noun."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_WORDS = 20
RIDDLE = re.compile(
    r"^(What|Where|How|Whether|Which|Who|Why|When|Nobody|Somebody|Something|Everything|Nothing)\b|\b(nobody|told|heard|ears?)\b"
)
NOUN = re.compile(r"^(The|An?|All|Each|Every|One|Two|Its|It)\b")
CHECKS = ROOT / "headrouter" / "testing" / "checks"  # whose sentences are the properties that hold


@cache
def first_sentences() -> list[tuple[str, Path, str]]:
    return list(_first_sentences())


def _first_sentences() -> Iterator[tuple[str, Path, str]]:
    for folder in ("headrouter", "adapters", "inversions", "plugins"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                    paragraph = " ".join(text.split("\n\n")[0].split())
                    sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z`\[(])", paragraph)[0]
                    yield (
                        f"{path.relative_to(ROOT)}: {getattr(node, 'name', 'module')}: {sentence}",
                        path,
                        sentence,
                    )


def test_first_sentences_are_short() -> None:
    long = [
        place
        for place, _, sentence in first_sentences()
        if len(re.findall(r"\S*[^\W\d_]{2}\S*", sentence)) > MOST_WORDS
    ]
    assert not long, f"more than {MOST_WORDS} words:\n" + "\n".join(long)


def test_first_sentences_are_no_riddles() -> None:
    riddles = [place for place, _, sentence in first_sentences() if RIDDLE.search(sentence)]
    assert not riddles, "begin with a verb and a concrete noun:\n" + "\n".join(riddles)


def test_first_sentences_begin_with_a_verb() -> None:
    nouns = [
        place for place, path, sentence in first_sentences() if CHECKS not in path.parents and NOUN.search(sentence)
    ]
    assert not nouns, "begin with a verb:\n" + "\n".join(nouns)
