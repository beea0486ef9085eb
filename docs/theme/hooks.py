"""What mkdocs cannot do alone: links from the pages to files of the repository outside docs/ work on the site, too.

Such a file (a benchmark, a recipe, a licence) is copied to files/<its path>, with .txt after its name so that browsers show it.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"\]\((\.\./[^)#\s]+)\)")


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files, **_: Any) -> str:
    """Lead links that leave docs/ to copies of the files that they name; others stay as they are."""
    root, here = Path(config.config_file_path).parent, posixpath.dirname(page.file.src_uri)

    def lead(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", here, link[1]))
        if path.startswith((".", "docs/")) or not (root / path).is_file():
            return link[0]
        copy = f"files/{path}.txt"
        if files.get_file_from_path(copy) is None:
            files.append(File.generated(config, copy, content=(root / path).read_text()))
        return f"]({posixpath.relpath(copy, here or '.')})"

    return LINK.sub(lead, markdown)
