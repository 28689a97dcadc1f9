"""Brings the documents of the repository's root into the site, which is built from ``docs``.

MkDocs calls what begins with ``on_``. Links are written for the repository, where every document
is read as it lies; here they are turned into those between the site's pages.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""What a document of the root is called in the site."""
_LINK = re.compile(r"(\[(?:[\w/]+\.md)?)?(\]\()([^)#\s]+\.\w+)")
"""A link's text where it is the name of a document, what stands between, and its target."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents of the root, and the badges that one of them shows."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    for badge in (ROOT / "packaging" / "badges").iterdir():
        name = badge.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(badge)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Return a page with the links of the site."""
    here = page.file.src_uri
    source = next((name for name, to in PAGES.items() if to == here), f"docs/{here}")

    def moved(found: re.Match[str]) -> str:
        if "://" in found[3]:
            return found[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[3]))
        text = f"[{title_of(target)}" if (found[1] or "").endswith(".md") else found[1] or ""
        target = PAGES.get(target, target.removeprefix("docs/"))
        return text + found[2] + posixpath.relpath(target, posixpath.dirname(here) or ".")

    return _LINK.sub(moved, markdown)


def title_of(document: str) -> str:
    """Return the title of a document of the repository."""
    return (ROOT / document).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
