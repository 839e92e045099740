"""Generate the pages that are not written by hand, and fill the navigation (hooks of mkdocs, see mkdocs.yml)."""

import logging
import re
from typing import Any

import command_help
import notebooks
import part_parameters
import public_names
import repository_links
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = repository_links.ROOT
LOG = logging.getLogger("mkdocs.headrouter")
"""In strict mode its warnings fail the build."""
ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):<code>(~?)([\w.]*?)(\w+)</code>")
LISTS = {
    "decisions": ("Decisions", "Why the project is as it is: one record for each choice, in the order of choosing."),
    "families": ("Families of models", "What is particular to each family, and how its attention is reached."),
}
"""Folders whose first page is a list of the others: title and sentence."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Warn of public names without a page or a docstring."""
    for sentence in public_names.missing():
        LOG.warning(sentence)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and replace folders in the navigation by their pages."""
    generated: dict[str, str | bytes] = {
        page: (ROOT / origin).read_text(encoding="utf-8") for origin, page in repository_links.PAGES.items()
    }
    generated |= public_names.pages()
    generated["reference/commands.md"] = command_help.page()
    generated["reference/parameters.md"] = part_parameters.page(complete=bool(config.extra["parameters"]))
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        generated |= {f"notebooks/{name}": content for name, content in notebooks.files(notebook).items()}
    for folder, (title, sentence) in LISTS.items():
        generated[f"{folder}/index.md"] = _list_of(folder, title, sentence)
    for path, content in generated.items():
        files.append(File.generated(config, path, content=content))
    pages = sorted(file.src_uri for file in files.documentation_pages())
    config.nav = _filled(config.nav, pages)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links of the site."""
    return repository_links.rewritten(markdown, page.file.src_uri, config.repo_url)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn Sphinx's roles of docstrings into code: the last name only where the role begins with a tilde."""
    return ROLE.sub(lambda match: f"<code>{'' if match[1] else match[2]}{match[3]}</code>", html)


def _filled(entry: Any, pages: list[str]) -> Any:
    if isinstance(entry, dict):
        return {title: _filled(value, pages) for title, value in entry.items()}
    if isinstance(entry, list):
        return [each for value in entry for each in _several(value, pages)]
    return entry


def _several(entry: Any, pages: list[str]) -> list[Any]:
    if not isinstance(entry, str) or not entry.endswith("/"):
        return [_filled(entry, pages)]
    inside = [page for page in pages if page.startswith(entry)]
    return sorted(inside, key=lambda page: (not page.endswith("/index.md"), page))


def _list_of(folder: str, title: str, sentence: str) -> str:
    lines = [f"# {title}", "", sentence, ""]
    for path in sorted((ROOT / "docs" / folder).glob("*.md")):
        heading = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ").lstrip("0123456789. ")
        number = f"{path.name[:4]}: " if path.name[:4].isdigit() else ""
        lines.append(f"- {number}[{heading}]({path.name})")
    return "\n".join(lines) + "\n"
