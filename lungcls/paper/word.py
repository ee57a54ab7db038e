"""The paper's parts as one Word document, through python-docx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungcls.errors import MissingExtraError
from lungcls.files import atomic_write
from lungcls.labels import NOTICE
from lungcls.paper.checklists import Answer, Checklist
from lungcls.paper.figures import CAPTIONS

if TYPE_CHECKING:
    from docx.document import Document


def write_word(
    path: Path,
    title: str,
    paragraphs: Sequence[tuple[str, str]],
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[str]]]],
    figures: Mapping[str, Path],
    filled: Sequence[tuple[Checklist, Sequence[Answer]]],
) -> Path:
    """Write methods, tables, figures and checklists as DOCX.

    Parameters
    ----------
    path : Path
    title : str
    paragraphs : sequence of (str, str)
        Headings and texts of the methods.
    tables : mapping
        Headings and lines by caption.
    figures : mapping of str to Path
        PNG files by the names of :data:`lungcls.paper.figures.CAPTIONS`.
    filled : sequence of (Checklist, sequence of Answer)

    Raises
    ------
    MissingExtraError
        If python-docx is not installed.
    """
    try:
        import docx
        from docx.enum.section import WD_ORIENT
        from docx.shared import Inches
    except ImportError as error:
        raise MissingExtraError("python-docx", "paper", "a Word document") from error
    document: Document = docx.Document()
    document.add_heading(title, 0)
    document.add_paragraph(NOTICE)
    document.add_heading("Methods", 1)
    for heading, text in paragraphs:
        document.add_paragraph().add_run(f"{heading}. ").bold = True
        document.paragraphs[-1].add_run(text)
    document.add_heading("Tables", 1)
    for caption, (headings, lines) in tables.items():
        document.add_paragraph(caption, style="Caption")
        _table(document, headings, lines)
    document.add_heading("Figures", 1)
    for name, picture in figures.items():
        document.add_picture(str(picture), width=Inches(6))
        document.add_paragraph(CAPTIONS[name], style="Caption")
    section = document.add_section()
    section.orientation = WD_ORIENT.LANDSCAPE
    section.page_width, section.page_height = section.page_height, section.page_width
    for checklist, answers in filled:
        document.add_heading(checklist.name, 1)
        document.add_paragraph(f"{checklist.title}. {checklist.scope}")
        _table(
            document,
            ("item", "what is asked", "state", "what is known", "file", "left to you"),
            [
                (
                    one.item.number,
                    f"{one.item.section}: {one.item.text}",
                    one.state,
                    one.value,
                    one.file,
                    one.ask,
                )
                for one in answers
            ],
            widths=[Inches(inches) for inches in (0.5, 1.9, 0.8, 3.4, 1.4, 1.4)],
        )
    with atomic_write(path) as file:
        document.save(file)
    return path


def _table(
    document: Document,
    headings: Sequence[str],
    lines: Sequence[Sequence[str]],
    widths: Sequence[Any] | None = None,
) -> None:
    from docx.shared import Pt

    table = document.add_table(rows=1 + len(lines), cols=len(headings), style="Light Grid Accent 1")
    for row, texts in zip(table.rows, (headings, *lines)):
        for place, (cell, text) in enumerate(zip(row.cells, texts)):
            if widths is not None:
                cell.width = widths[place]
            cell.paragraphs[0].add_run(text).font.size = Pt(8)
    document.add_paragraph()
