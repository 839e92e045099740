"""Turn links that are right in the repository into links that are right in the site."""

import os.path
import posixpath
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files outside docs/ that are pages of the site, and the page of each."""
_FENCED: Final = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")


def rewritten(markdown: str, page: str, repository: str | None) -> str:
    """Return the Markdown of a page of the site, with its links to the repository rewritten.

    Args:
        markdown: As it is in the repository.
        page: Its path in the site.
        repository: Address at which the repository can be browsed; without one, files outside the site become code text.
    """
    origin = next((source for source, target in PAGES.items() if target == page), f"docs/{page}")

    def link(match: re.Match[str]) -> str:
        picture, text, target = match.groups()
        address, anchor, fragment = target.partition("#")
        if not address or re.match(r"[a-z]+:", address):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), address))
        inside = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if inside is not None:
            if (ROOT / path).is_dir():
                inside += "/index.md"
            if inside.endswith(".ipynb") and posixpath.splitext(inside)[0] != posixpath.splitext(page)[0]:
                inside = posixpath.splitext(inside)[0] + ".md"  # the notebook's page, which links to the notebook
            return f"{picture}[{text}]({os.path.relpath(inside, posixpath.dirname(page) or '.')}{anchor}{fragment})"
        if not (ROOT / path).exists():
            return match[0]  # mkdocs reports it
        if repository:
            return f"[{text}]({repository.rstrip('/')}/blob/main/{path}{anchor}{fragment})"
        return text if "`" in text else f"`{text}`"

    parts = _FENCED.split(markdown)  # text, block of code, text, ...
    return "".join(part if place % 2 else _LINK.sub(link, part) for place, part in enumerate(parts))
