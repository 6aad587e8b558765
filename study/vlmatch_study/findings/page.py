"""The study page: docs/findings.md as one HTML file that loads nothing."""

import re
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

from vlmatch import report
from vlmatch_study.marked import without_marks

TO_DOCS = "../../../docs/"  # from outputs/evidence/findings
_STYLE = Path(report.__file__).parent / "page" / "style.css"
_RELATIVE = re.compile(r'(<a href=")(?![a-z]+:|#|/)')


def write(path: Path, text: str) -> None:
    """Write the page of a document's text, in the report's style."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rendered(text), encoding="utf-8")


def rendered(text: str) -> str:
    """The page: HTML without scripts; links that are relative to docs/ are relative to the page."""
    body = MarkdownIt("commonmark").enable("table").render(without_marks(text))
    body = _RELATIVE.sub(rf"\1{TO_DOCS}", body)
    title = escape(text.splitlines()[0].lstrip("# "))
    style = _STYLE.read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>\n{style}\nmain table {{ display: block; overflow-x: auto; }}\n</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
