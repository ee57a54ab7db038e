"""What the documentation site shows besides ``docs/``: documents of the checkout, and the notebooks.

mkdocs calls these functions; ``mkdocs.yml`` names this file. A notebook is shown with its outputs where
``python scripts/run_notebooks.py`` has put an executed copy into ``build/notebooks``, and without them
otherwise.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any, Final

import jupytext
import nbformat
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT: Final = Path(__file__).resolve().parents[1]
OUTSIDE: Final = {
    "benchmarks.md": "benchmarks/README.md",
    "weights.md": "weights/README.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
}
"""Pages of the site that are documents elsewhere in the checkout."""

_LINK: Final = re.compile(r"(!?\[[^\]]*\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
_FENCE: Final = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[^\n]*$)", re.M | re.S)


def on_files(files: Files, config: Any) -> Files:
    """Add the documents of the checkout and the notebooks."""
    for page, source in OUTSIDE.items():
        text = _relinked((ROOT / source).read_text(encoding="utf-8"), posixpath.dirname(source))
        files.append(File.generated(config, page, content=text))
    for source in sorted((ROOT / "docs" / "notebooks").glob("*.py")):
        text, pictures = notebook_page(source)
        files.append(File.generated(config, f"notebooks/{source.stem}.md", content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links of pages in ``docs/`` to documents of the checkout lead to their pages here."""
    if page.file.generated_by:
        return markdown
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))
    return _relinked(markdown, posixpath.normpath(folder))


def notebook_page(source: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as a page, and its pictures by name.

    Parameters
    ----------
    source : Path
        A jupytext script.
    """
    executed = ROOT / "build" / "notebooks" / f"{source.stem}.ipynb"
    fresh = executed.is_file() and executed.stat().st_mtime >= source.stat().st_mtime
    notebook = nbformat.read(executed, 4) if fresh else jupytext.read(source)
    notebook.metadata.setdefault("language_info", {"name": "python"})
    exporter = MarkdownExporter()
    text, resources = exporter.from_notebook_node(
        notebook, resources={"unique_key": source.stem, "output_files_dir": f"{source.stem}_files"}
    )
    heading, _, rest = text.lstrip().partition("\n")
    about = f"*A notebook: `docs/notebooks/{source.name}`, for Jupyter by way of jupytext. The tests run it.*"
    return f"{heading}\n\n{about}\n{rest}", dict(resources["outputs"])


def _relinked(markdown: str, folder: str) -> str:
    """Point the links of a document in `folder` of the checkout at the site's pages; the rest become text."""
    pages = {source: page for page, source in OUTSIDE.items()}

    def replace(match: re.Match[str]) -> str:
        start, target, end = match.groups()
        path = posixpath.normpath(posixpath.join(folder, target))
        if folder.startswith("docs") and path not in pages:
            return match.group()  # mkdocs itself looks at these
        page = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if page is None:
            return f"{match.group(1).lstrip('!')[1:-2]} (`{path}`)"
        depth = folder.count("/") if folder.startswith("docs") else 0
        return f"{start}{'../' * depth}{page}{end}"

    parts = _FENCE.split(markdown)
    return "".join(part if number % 2 else _LINK.sub(replace, part) for number, part in enumerate(parts))
