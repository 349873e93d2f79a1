"""The report as a PDF: A4, embedded font, the same bytes for the same télédossier.

Entry point: `pdf(report)`. Bitstream Vera comes with reportlab and is embedded in subset, so that the page
looks the same in twenty years; it has every sign French needs. What it lacks is written with what it has.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import reportlab
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)

from fhir_server.teledossier import report_words as words
from fhir_server.teledossier.report_content import Milestone, Party, Report, Said

INK, SOFT, LINE = HexColor("#16242f"), HexColor("#5a6b78"), HexColor("#d5dde3")
ACCENT, PALE = HexColor("#0b5c7a"), HexColor("#f1f6f8")
MARGIN, WIDTH = 17 * mm, A4[0] - 34 * mm
REGULAR, BOLD = "Vera", "VeraBd"
SPELT = {
    "→": "->",
    "←": "<-",
    "₂": "2",
    "α": "alpha",
    "β": "beta",
    "✓": "x",
    "\u202f": "\u00a0",
    "\u2011": "-",
}


@cache
def _fonts() -> frozenset[int]:
    """Registers the fonts with reportlab; the code points they hold."""
    folder = Path(reportlab.__file__).parent / "fonts"
    for name in (REGULAR, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    return frozenset(pdfmetrics.getFont(REGULAR).face.charToGlyph)


def printable(text: str) -> str:
    """`text` in signs the font holds: known ones spelt out, others as `?`."""
    known = _fonts()
    spelt = "".join(SPELT.get(sign, sign) for sign in text)
    return "".join(sign if ord(sign) in known or sign == "\n" else "?" for sign in spelt)


def _style(
    size: float, *, bold: bool = False, color: Any = INK, before: float = 0, indent: float = 0
) -> ParagraphStyle:
    return ParagraphStyle(
        f"s{size}{bold}{color}{before}{indent}",
        fontName=BOLD if bold else REGULAR,
        fontSize=size,
        leading=size * 1.42,
        textColor=color,
        spaceBefore=before,
        leftIndent=indent,
        splitLongWords=True,
    )


def _line(text: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(escape(printable(text)).replace("\n", "<br/>"), style)


def _heading(text: str) -> Paragraph:
    return _line(text.upper(), _style(7.2, bold=True, color=ACCENT, before=9))


def pdf(report: Report) -> bytes:
    """The document. Deterministic: no clock, no random identifier."""
    _fonts()
    buffer = BytesIO()
    document = BaseDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=31 * mm,
        bottomMargin=20 * mm,
        title=f"{words.TITLE} {report.numero}",
        author=printable(report.expert.name),
        subject=printable(report.workflow),
        lang="fr-FR",
        invariant=1,
    )
    frame = Frame(MARGIN, 20 * mm, WIDTH, A4[1] - 51 * mm, 0, 0, 0, 0)
    document.addPageTemplates(
        [PageTemplate(frames=[frame], onPage=lambda canvas, _: _letterhead(canvas, report))]
    )
    document.build(_story(report), canvasmaker=_numbered(report))
    return buffer.getvalue()


def _story(report: Report) -> list[Flowable]:
    story: list[Flowable] = [_patient(report), Spacer(1, 4 * mm), _parties(report), Spacer(1, 4 * mm)]
    story.append(_chronology(report.milestones))
    if report.form:
        story += [_heading(words.REQUEST), Spacer(1, 1.5 * mm), _pairs(report.form)]
    count = len(report.answers)
    heading = words.ANSWER if count == 1 else words.ANSWERS.format(count=count)
    for place, said in enumerate(report.answers):
        block: list[Flowable] = (
            [_heading(heading), Spacer(1, 1.5 * mm)] if place == 0 else [Spacer(1, 2 * mm)]
        )
        story.append(KeepTogether([*block, _answer(said)]))
    for title, lines in (
        (words.EXCHANGES, [(said.heading, said.text) for said in report.exchanges]),
        (words.EXAMS, list(report.exams)),
        (words.DOCUMENTS, [(one, "") for one in report.documents]),
        (words.CONSENT, [(report.consent, "")] if report.consent else []),
    ):
        story += _section(title, lines)
    story.append(KeepTogether([Spacer(1, 6 * mm), _signature(report)]))
    return story


def _patient(report: Report) -> Table:
    cells = [[_line(report.patient, _style(14, bold=True))]]
    cells += [[_line(line, _style(8.4, color=INK))] for line in report.patient_lines]
    return _boxed(
        cells, [WIDTH], [("BACKGROUND", (0, 0), (-1, -1), PALE), ("LINEBEFORE", (0, 0), (0, -1), 3, ACCENT)]
    )


def _boxed(cells: list[list[Any]], widths: list[float], style: list[Any]) -> Table:
    padding = [
        ("LEFTPADDING", (0, 0), (-1, -1), 4 * mm),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3 * mm),
        ("TOPPADDING", (0, 0), (-1, -1), 1.2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.2),
        ("TOPPADDING", (0, 0), (-1, 0), 3 * mm),
        ("BOTTOMPADDING", (0, -1), (-1, -1), 3 * mm),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
    return Table(cells, colWidths=widths, style=[*padding, *style], splitInRow=1)


def _party(title: str, party: Party, more: str) -> list[Flowable]:
    lines: list[Flowable] = [
        _line(title.upper(), _style(6.6, bold=True, color=ACCENT)),
        Spacer(1, 1 * mm),
        _line(party.name, _style(9.6, bold=True)),
    ]
    lines += [_line(line, _style(8, color=INK)) for line in party.lines]
    return [*lines, _line(more, _style(7.4, color=SOFT, before=2))] if more else lines


def _parties(report: Report) -> Table:
    cells = [
        [
            _party(words.REQUESTER, report.requester, report.author),
            _party(words.EXPERT, report.expert, report.recipient),
        ]
    ]
    return _boxed(
        cells,
        [WIDTH / 2, WIDTH / 2],
        [("BOX", (0, 0), (-1, -1), 0.5, LINE), ("LINEBEFORE", (1, 0), (1, -1), 0.5, LINE)],
    )


def _chronology(milestones: tuple[Milestone, ...]) -> Table:
    reached = [one for one in milestones if one.time]
    cells = [
        [_line(one.label, _style(7, color=SOFT)) for one in reached],
        [_line(one.time, _style(8, bold=True)) for one in reached],
        [_line(one.delay, _style(7.2, color=ACCENT)) for one in reached],
    ]
    rules = [
        ("LINEABOVE", (0, 0), (-1, 0), 1.2, ACCENT),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), 1),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 0.5),
        ("TOPPADDING", (0, 0), (-1, 0), 4),
    ]
    return Table(cells, colWidths=[WIDTH / len(reached)] * len(reached), style=rules)


def _pairs(pairs: tuple[tuple[str, str], ...]) -> Table:
    cells = [[_line(label, _style(8, color=SOFT)), _line(text, _style(8.6))] for label, text in pairs]
    rules = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 6),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.4),
        ("LINEBELOW", (0, 0), (-1, -2), 0.4, LINE),
    ]
    return Table(cells, colWidths=[52 * mm, WIDTH - 52 * mm], style=rules, splitInRow=1)


def _answer(said: Said) -> Table:
    cells = [[_line(said.heading, _style(7.6, color=SOFT))], [_line(said.text, _style(10.2))]]
    return _boxed(cells, [WIDTH], [("BOX", (0, 0), (-1, -1), 0.9, ACCENT)])


def _section(title: str, lines: list[tuple[str, str]]) -> list[Flowable]:
    if not lines:
        return []
    blocks: list[Flowable] = []
    for head, text in lines:
        blocks.append(_line(head, _style(8.2, before=2)))
        if text:
            blocks.append(_line(text, _style(8, color=SOFT)))
    return [KeepTogether([_heading(title), Spacer(1, 1 * mm), *blocks[:2]]), *blocks[2:]]


def _signature(report: Report) -> Table:
    return Table(
        [[_line(report.signature, _style(8.6, bold=True))]],
        colWidths=[WIDTH],
        style=[
            ("LINEABOVE", (0, 0), (-1, 0), 0.8, INK),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 5),
        ],
    )


def _letterhead(canvas: Canvas, report: Report) -> None:
    """The establishment that answers, the title, the number: on every page."""
    top = A4[1] - 15 * mm
    canvas.saveState()
    canvas.setFillColor(ACCENT)
    canvas.rect(0, A4[1] - 4 * mm, A4[0], 4 * mm, stroke=0, fill=1)
    canvas.setFillColor(INK)
    canvas.setFont(BOLD, 11)
    canvas.drawString(MARGIN, top, printable(report.expert.establishment))
    canvas.setFont(REGULAR, 8.4)
    canvas.setFillColor(SOFT)
    canvas.drawString(MARGIN, top - 4.6 * mm, printable(report.expert.service))
    canvas.setFillColor(ACCENT)
    canvas.setFont(BOLD, 11)
    canvas.drawRightString(A4[0] - MARGIN, top, words.TITLE)
    canvas.setFillColor(SOFT)
    canvas.setFont(REGULAR, 8.4)
    about = "  ·  ".join(one for one in (report.workflow, report.priority, report.numero) if one)
    canvas.drawRightString(A4[0] - MARGIN, top - 4.6 * mm, printable(about))
    canvas.setStrokeColor(LINE)
    canvas.line(MARGIN, top - 8 * mm, A4[0] - MARGIN, top - 8 * mm)
    canvas.restoreState()


def _numbered(report: Report) -> type[Canvas]:
    """A canvas that knows how many pages there are when it prints the foot of each."""

    class Numbered(Canvas):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.kept: list[dict[str, Any]] = []

        def showPage(self) -> None:
            self.kept.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            pages = len(self.kept)
            for page, state in enumerate(self.kept, 1):
                self.__dict__.update(state)
                _foot(self, report, page, pages)
                super().showPage()
            super().save()

    return Numbered


def _foot(canvas: Canvas, report: Report, page: int, pages: int) -> None:
    canvas.setStrokeColor(LINE)
    canvas.line(MARGIN, 15 * mm, A4[0] - MARGIN, 15 * mm)
    canvas.setFillColor(SOFT)
    canvas.setFont(REGULAR, 6.8)
    foot = words.FOOT.format(numero=report.numero, patient=report.patient, ins=report.ins)
    canvas.drawString(MARGIN, 11 * mm, printable(foot))
    canvas.drawRightString(A4[0] - MARGIN, 11 * mm, words.PAGE.format(page=page, pages=pages))
    canvas.drawString(MARGIN, 7.8 * mm, words.CONFIDENTIAL)
