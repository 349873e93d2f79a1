"""Accounts, throttling, sessions, and the page that posts to them. DOMAIN R033–R034"""

from __future__ import annotations

import asyncio

import httpx
import pytest

from profiles.outcomes import Conflict, Invalid, NotFound
from smart_launch.clock import SECOND
from smart_launch.signin import local, safe_next
from smart_launch.signin.local import Account, Refusal
from smart_launch.signin.session import ABSOLUTE, IDLE
from tests.smart_launch.conftest import HERE, OWN, House

PASSWORD = "une phrase assez longue é"


@pytest.fixture
async def doctor(house: House) -> Account:
    return await local.create_account(house.store, "p08", "p08", PASSWORD)


async def sign_in(
    house: House, name: str = "p08", password: str = PASSWORD, suite: str = "/"
) -> httpx.Response:
    fields = {"identifiant": name, "mot_de_passe": password, "suite": suite}
    return await house.http.post("/connexion", data=fields, headers=OWN)


async def status_of(house: House) -> int:
    return (await house.http.get("/session")).status_code


async def test_account_record_holds_no_password(house: House, doctor: Account) -> None:
    stored = await house.store.get_record("account", "p08")
    assert PASSWORD not in str(stored)
    assert stored["hash"].startswith("$argon2id$")
    assert await local.of_practitioner(house.store, "p08") == doctor
    assert [account.username for account in await local.list_accounts(house.store)] == ["p08"]


@pytest.mark.parametrize(
    ("name", "practitioner", "password", "error"),
    [
        ("p08", "p09", PASSWORD, Conflict),
        ("P08 ", "p09", PASSWORD, Conflict),
        ("p09", "p08", PASSWORD, Conflict),
        ("", "p09", PASSWORD, Invalid),
        ("a b", "p09", PASSWORD, Invalid),
        ("p09", "../x", PASSWORD, Invalid),
        ("p09", "p09", "court", Invalid),
        ("p09", "p09", "x" * 1025, Invalid),
    ],
)
async def test_account_refused(
    house: House, doctor: Account, name: str, practitioner: str, password: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await local.create_account(house.store, name, practitioner, password)
    assert [account.username for account in await local.list_accounts(house.store)] == ["p08"]


async def test_sign_in_and_out(house: House, doctor: Account) -> None:
    house.audiences["p08"] = frozenset({"Organization/urg-auch"})
    answer = await sign_in(house, " P08 ", suite="/dossiers?etat=envoye")
    assert (answer.status_code, answer.headers["location"]) == (303, "/dossiers?etat=envoye")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    value = house.http.cookies["teledossier"]
    assert len(value) == 43
    assert value not in str(house.store.kept)
    seen = (await house.http.get("/fhir/Task")).json()
    assert seen == {
        "subject": "Practitioner/p08",
        "scopes": ["*.rs", "Binary.c"],
        "session": "password",
        "audience": ["Organization/urg-auch", "Practitioner/p08"],
    }
    who = (await house.http.get("/session")).json()
    assert (who["account"], who["practitioner"]) == ("p08", "Practitioner/p08")
    left = await house.http.post("/deconnexion", headers=OWN)
    assert (left.status_code, left.headers["location"]) == (303, "/connexion")
    house.http.cookies.set("teledossier", value, domain="127.0.0.1")
    assert await status_of(house) == 401


async def test_https_cookie_is_secure(clock: object) -> None:
    from fhir_server.settings import Settings
    from tests.smart_launch.conftest import build

    house = build(Settings(base_url="https://td.example"), clock)  # type: ignore[arg-type]
    await local.create_account(house.store, "p08", "p08", PASSWORD)
    answer = await sign_in(house)
    assert answer.headers["set-cookie"].startswith("__Host-teledossier=")
    assert "Secure" in answer.headers["set-cookie"]
    assert await status_of(house) == 200


@pytest.mark.parametrize(
    ("name", "password"),
    [("p08", "wrong"), ("nobody", PASSWORD), ("", ""), ("p08", "x" * 2000), ("\ud800", "\x00")],
)
async def test_the_same_refusal(house: House, doctor: Account, name: str, password: str) -> None:
    answer = await house.signin.verify(name, password, "10.0.0.1")
    assert answer == Refusal()
    assert isinstance(await house.signin.verify("p08", PASSWORD, "10.0.0.2"), Account)


async def test_composed_and_decomposed_accents_are_one(house: House, doctor: Account) -> None:
    assert isinstance(await house.signin.verify("p08", PASSWORD.replace("é", "e\u0301"), "a"), Account)


async def test_throttling_grows_and_is_for_one_address(house: House, doctor: Account) -> None:
    for _ in range(5):
        assert await house.signin.verify("p08", "wrong", "10.0.0.1") == Refusal()
    waits = []
    for _ in range(4):
        refusal = await house.signin.verify("p08", PASSWORD, "10.0.0.1")
        assert isinstance(refusal, Refusal)
        waits.append(refusal.wait)
        house.clock.forward(refusal.wait)
        assert await house.signin.verify("p08", "wrong", "10.0.0.1") == Refusal()
    assert waits == [1, 2, 4, 8]
    assert isinstance(await house.signin.verify("p08", PASSWORD, "10.0.0.2"), Account), (
        "elsewhere is not delayed"
    )
    house.clock.forward(16)
    assert isinstance(await house.signin.verify("p08", PASSWORD, "10.0.0.1"), Account)
    assert await house.signin.verify("p08", "wrong", "10.0.0.1") == Refusal(), "success forgets the failures"


async def test_tries_at_once_are_counted_one_by_one(house: House, doctor: Account) -> None:
    answers = await asyncio.gather(*(house.signin.verify("p08", "wrong", "a") for _ in range(20)))
    assert sorted(answer.wait for answer in answers if isinstance(answer, Refusal)) == [0] * 5 + [1] * 15


async def test_the_page_says_how_long_to_wait(house: House, doctor: Account) -> None:
    for _ in range(5):
        assert (await sign_in(house, password="wrong")).status_code == 401
    answer = await sign_in(house)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert "Trop d'essais" in answer.text
    assert PASSWORD not in answer.text


async def test_session_ends(house: House, doctor: Account) -> None:
    await sign_in(house)
    house.clock.forward(IDLE / SECOND - 1)
    assert await status_of(house) == 200
    house.clock.forward(IDLE / SECOND)
    assert await status_of(house) == 401
    await sign_in(house)
    for _ in range(int(ABSOLUTE / IDLE) + 1):
        last = await status_of(house)
        house.clock.forward(IDLE / SECOND - 60)
    assert last == 200
    house.clock.forward(60 * 20)
    assert await status_of(house) == 401


async def test_use_is_noted_once_a_minute(house: House, doctor: Account) -> None:
    await sign_in(house)
    before = house.store.writes
    for _ in range(10):
        house.clock.forward(5)
        assert await status_of(house) == 200
    assert house.store.writes == before
    house.clock.forward(11)
    assert await status_of(house) == 200
    assert house.store.writes == before + 1


async def test_disabling_is_immediate(house: House, doctor: Account) -> None:
    await sign_in(house)
    assert await status_of(house) == 200
    await local.set_disabled(house.store, "p08", True)
    assert await status_of(house) == 401
    assert await house.signin.verify("p08", PASSWORD, "a") == Refusal()
    await local.set_disabled(house.store, "p08", False)
    assert await status_of(house) == 200
    with pytest.raises(NotFound):
        await local.set_disabled(house.store, "p99", True)


async def test_a_second_person_ends_the_first_session(house: House, doctor: Account) -> None:
    await local.create_account(house.store, "p09", "p09", PASSWORD)
    await sign_in(house)
    first = house.http.cookies["teledossier"]
    await sign_in(house, "p09")
    assert (await house.http.get("/session")).json()["practitioner"] == "Practitioner/p09"
    assert await house.sessions.find(first) is None


@pytest.mark.parametrize("value", ["", "x", "x" * 43, "é" * 43, "x" * 5000, 'a"b;c', "\udcff" * 30])
async def test_unknown_cookies(house: House, value: str) -> None:
    assert await house.sessions.find(value) is None


@pytest.mark.parametrize(
    ("suite", "target"),
    [
        ("/dossiers", "/dossiers"),
        ("/dossiers?a=b&c=%2F", "/dossiers?a=b&c=%2F"),
        ("/", "/"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\t/evil.example", "/"),
        ("/\r\nSet-Cookie: a=b", "/"),
        ("dossiers", "/"),
        ("/connexion", "/"),
        ("/" + "x" * 3000, "/"),
        ("/a//b", "/a//b"),
        ("javascript:alert(1)", "/"),
        ("/%0d%0a", "/%0d%0a"),
    ],
)
def test_no_open_redirect(suite: str, target: str) -> None:
    assert safe_next(suite) == target


async def test_the_page(house: House, doctor: Account) -> None:
    page = await house.http.get("/connexion?suite=//evil.example")
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    assert page.text == "[connexion.html] attente=0 erreur= identifiant= suite=/"
    await sign_in(house)
    again = await house.http.get("/connexion?suite=/dossiers")
    assert (again.status_code, again.headers["location"]) == (303, "/dossiers")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": HERE}, 303),
        ({}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
async def test_sign_in_from_elsewhere(
    house: House, doctor: Account, headers: dict[str, str], status: int
) -> None:
    fields = {"identifiant": "p08", "mot_de_passe": PASSWORD}
    assert (await house.http.post("/connexion", data=fields, headers=headers)).status_code == status
