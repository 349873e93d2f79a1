"""The scenario's attachments as small real files of their kind: what they look like, not their size.

The 1.4 GB film of the scenario is a few bytes here; each PDF says the size it stands for.
"""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from PIL import Image
from reportlab.lib.pagesizes import A5
from reportlab.pdfgen.canvas import Canvas

FICTION = "Document de démonstration, entièrement fictif."
TYPES = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "jpg": "image/jpeg",
    "mp4": "video/mp4",
}
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
RELATIONS = "application/vnd.openxmlformats-package.relationships+xml"
XML = '<?xml version="1.0" encoding="UTF-8"?>'
DOCX = {
    "[Content_Types].xml": f'{XML}<Types xmlns="{PACKAGE}/content-types">'
    f'<Default Extension="rels" ContentType="{RELATIONS}"/>'
    f'<Override PartName="/word/document.xml" ContentType="{MAIN}"/></Types>',
    "_rels/.rels": f'{XML}<Relationships xmlns="{PACKAGE}/relationships">'
    f'<Relationship Id="r1" Type="{OFFICE}" Target="word/document.xml"/></Relationships>',
    "word/document.xml": f'{XML}<w:document xmlns:w="{WORD}"><w:body>'
    "<w:p><w:r><w:t>{title}</w:t></w:r></w:p><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>",
}


def document(name: str, kilobytes: int) -> tuple[str, bytes]:
    """(content type, bytes) of an attachment by its file name; the same bytes each time."""
    ending = name.rpartition(".")[2].lower()
    title = name.rpartition(".")[0].replace("_", " ")
    text = f"{FICTION} Représente un fichier de {kilobytes} ko."
    match ending:
        case "pdf":
            made = _pdf(title, text)
        case "docx":
            made = _docx(title, text)
        case "jpg":
            made = _photo(name)
        case _:
            made = _film()
    return TYPES.get(ending, "application/octet-stream"), made


def _pdf(title: str, text: str) -> bytes:
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=A5, invariant=1)
    canvas.setTitle(title)
    canvas.setFont("Helvetica-Bold", 15)
    canvas.drawString(40, A5[1] - 70, title)
    canvas.setFont("Helvetica", 9)
    canvas.drawString(40, A5[1] - 92, text)
    if title.startswith("ECG"):
        _trace(canvas)
    canvas.save()
    return buffer.getvalue()


def _trace(canvas: Canvas) -> None:
    """Three lines of a drawn heartbeat on graph paper."""
    canvas.setStrokeColorRGB(0.95, 0.75, 0.75)
    for place in range(0, 330, 10):
        canvas.line(40 + place, 150, 40 + place, 450)
    for place in range(0, 310, 10):
        canvas.line(40, 150 + place, 360, 150 + place)
    canvas.setStrokeColorRGB(0.1, 0.1, 0.15)
    beat = (
        (0, 0),
        (12, 0),
        (16, 5),
        (20, 0),
        (26, 0),
        (28, -5),
        (31, 42),
        (34, -10),
        (37, 0),
        (48, 0),
        (55, 9),
        (64, 0),
    )
    for base in (390, 290, 190):
        points = [(44 + 78 * number + x, base + y) for number in range(4) for x, y in beat]
        canvas.lines([(*first, *second) for first, second in pairwise(points)])


def _docx(title: str, text: str) -> bytes:
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        for path, content in DOCX.items():
            archive.writestr(ZipInfo(path), content.replace("{title}", title).replace("{text}", text))
    return buffer.getvalue()


def _photo(name: str) -> bytes:
    """A soft gradient in skin tones, lighter on one side."""
    width, height = 480, 640
    turn = "gauche" in name
    image = Image.new("RGB", (width, height))
    image.putdata(
        [
            (225 - abs((width - x if turn else x) - 200) // 4, 185 - abs(x - 240) // 3, 165 - y // 16)
            for y in range(height)
            for x in range(width)
        ]
    )
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=70)
    return buffer.getvalue()


def _film() -> bytes:
    """The shortest thing that is an MP4: its file type and an empty body."""
    return bytes.fromhex("00000018667479706d703432000000006d70343269736f6d000000086d646174")
