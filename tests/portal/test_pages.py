"""The pages on the real rooms, and the pure views by table."""

from __future__ import annotations

import html
import re
from datetime import date
from pathlib import Path

import pytest

from smart_launch.app.views import times
from smart_launch.app.views.draft import ins_is_right
from smart_launch.app.views.patient import spaced_ins
from tests.portal.platform import platform

KEY = re.compile(r'data-cle="([^"]+)"')


@pytest.mark.parametrize(
    ("birth", "words"),
    [("1953-05-17", "71 ans"), ("2024-02-08", "6 mois"), ("1953", ""), ("2030-01-01", ""), (None, "")],
)
def test_age(birth: str | None, words: str) -> None:
    assert times.age(birth, date(2024, 8, 8)) == words


@pytest.mark.parametrize(
    ("number", "right"),
    [("153053299010337", True), ("153053299010338", False), ("1530532990103", False), ("", False)],
)
def test_ins_key(number: str, right: bool) -> None:
    assert ins_is_right(number) is right


def test_ins_is_spaced() -> None:
    assert spaced_ins("153053299010337") == "1 53 05 32 990 103 37"


async def test_reading_is_a_post_and_shown_to_the_caller(tmp_path: Path) -> None:
    async with platform(tmp_path) as here:
        id = await here.sent(family="<script>alert(1)</script>")
        async with here.as_("p05") as expert, here.as_("p08") as caller, here.as_("p06") as stranger:
            page = (await expert.get(f"/dossiers/{id}")).text
            assert "<script>alert" not in page
            assert "data-a-lire" in page
            before = await caller.get(f"/dossiers/{id}/suivi")
            assert "Dossier lu par" not in before.text
            headers = {"if-none-match": before.headers["etag"]}
            assert (await caller.get(f"/dossiers/{id}/suivi", headers=headers)).status_code == 304
            assert (await expert.post(f"/dossiers/{id}/lecture")).status_code == 204
            assert (
                "Dossier lu par Dr Durand le "
                in (await caller.get(f"/dossiers/{id}/suivi", headers=headers)).text
            )
            assert (await stranger.get(f"/dossiers/{id}")).status_code == 404
            refused = await caller.post(
                f"/dossiers/{id}/etapes", data={"etape": "answer", "texte": "texte à garder"}
            )
            assert refused.status_code in (403, 409)
            assert "texte à garder" in refused.text


async def test_a_long_list_has_pages_and_what_waits_has_none(tmp_path: Path) -> None:
    async with platform(tmp_path) as here:
        sent = {await here.sent(family="PATIENT-LENT") for _ in range(32)}
        async with here.as_("p08") as caller, here.as_("p05") as expert:
            first = (await caller.get("/dossiers?vue=envoyes")).text
            link = html.unescape(re.findall(r'href="([^"]+page=[^"]+)"', first)[0])
            second = (await caller.get(link)).text
            pages = [set(KEY.findall(page)) for page in (first, second)]
            assert [len(page) for page in pages] == [30, 2]
            assert pages[0] | pages[1] == sent
            assert "Page suivante" not in second
            assert set(KEY.findall((await expert.get("/dossiers")).text)) == sent
            assert KEY.findall((await caller.get("/dossiers")).text) == []
            for name, found in (("patient-lent", sent), ("autre", set())):
                page = (await expert.post("/dossiers", data={"patient": name})).text
                assert set(KEY.findall(page)) == found
