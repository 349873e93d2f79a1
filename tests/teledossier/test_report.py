"""The report, read back from the PDF."""

from __future__ import annotations

import base64
from io import BytesIO

from pypdf import PdfReader

from fhir_server.teledossier.report import printable

from .made import World, filled

ANSWER = "Œdème, cœur régulier, l’oxygène : objectif ≤ 185/110."


def signed(answer: str = ANSWER) -> bytes:
    world: World = filled()
    for code, name, clock, text in (
        ("send", "doctor", "05:15", ""),
        ("read", "expert", "05:34", ""),
        ("answer", "expert", "05:42", answer),
        ("sign-report", "expert", "06:03", ""),
    ):
        world.step(code, name, clock, text=text)
    return base64.b64decode(world.written("Binary")[0]["data"])


def test_what_the_page_says() -> None:
    pages = PdfReader(BytesIO(signed())).pages
    text = " ".join(" ".join(page.extract_text() for page in pages).split())
    for said in (
        "LABORDE Henri",
        "17/05/1953",
        "1 53 05 32 990 103 37",
        "Dr Nadia BENALI",
        "RPPS 89990000088",
        "CH Démo",
        "Dr Antoine DURAND",
        "RPPS 89990000054",
        "UF 310",
        "TD-2024-000001",
        "08/08/2024 à 05:34",
        "+ 19 min",
        "+ 27 min",
        ANSWER,
        "14 points",
        "Page 1 / 1",
    ):
        assert said in text, said
    assert "Hugo CASTEX" not in text


def test_same_file_same_bytes_and_long_answers_take_pages() -> None:
    assert signed() == signed()
    lines = "\n".join(["Ligne"] * 600)
    assert len(PdfReader(BytesIO(signed(lines))).pages) > 3
    assert len(PdfReader(BytesIO(signed("Un avis très long. " * 400))).pages) > 1


def test_signs_the_font_lacks_are_spelt() -> None:
    assert printable("a → β œ 漢") == "a -> beta œ ?"
