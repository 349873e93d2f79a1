"""The launch from a DPI, end to end: the platform and the simulated DPI over sockets, a browser between them.

SMART App Launch 2.2 app-launch.html; OpenID Connect Core §3.1.3.7; DOMAIN R026–R028, R040–R041
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
import pytest_asyncio

from smart_launch.app.dpi.refusals import TABLE
from smart_launch.signin import local
from tests.smart_launch.launching import BASE, Town, town

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    async with town(tmp_path_factory.mktemp("town")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def place(running: Town) -> AsyncIterator[Town]:
    """Healed before each test."""
    await running.faults()
    yield running
    await running.close_browsers()


def refusal(answer: httpx.Response, code: str) -> None:
    """The French page of this refusal, and nothing of the inside on it."""
    assert f"Référence : {code}" in answer.text, answer.text[-600:]
    assert answer.status_code == TABLE[code].status
    assert "Traceback" not in answer.text


async def test_one_click_opens_the_form(place: Town) -> None:
    browser = place.browser()
    answer = await browser.launch("ch-un", "d1", "ALPHA")
    path = urlsplit(answer.headers["location"]).path
    assert path.startswith("/dossiers/")
    assert path.endswith("/formulaire")
    request = await place.fhir.read("ServiceRequest", path.split("/")[2])
    assert request["status"] == "draft"
    assert request["category"][0]["coding"][0]["code"] == "avis-avc-aigu"
    assert request["requester"]["reference"] == "PractitionerRole/d1-urg-un"
    patient = await place.fhir.read("Patient", request["subject"]["reference"].split("/")[1])
    assert {(one["system"], one["value"]) for one in patient["identifier"]} == {
        ("urn:oid:1.2.250.1.213.1.4.11", "153053299010337"),
        (f"{BASE}/NamingSystem/ipp/ch-un", "UN-1"),
    }
    extensions = {one["url"]: one for one in patient["extension"]}
    assert (
        extensions["http://hl7.org/fhir/StructureDefinition/patient-birthPlace"]["valueAddress"]["city"]
        == "Auch"
    )
    assert extensions[f"{BASE}/StructureDefinition/identity-status"]["valueCode"] == "qualifiee"
    venue = await place.fhir.read("Encounter", request["encounter"]["reference"].split("/")[1])
    assert venue["identifier"][0]["system"] == f"{BASE}/NamingSystem/venue/ch-un"
    me = (await browser.http.get(place.platform + "/session")).json()
    assert (me["practitioner"], me["via"]) == ("Practitioner/d1", place.issuer("ch-un"))


async def test_a_second_launch_reopens_the_draft(place: Town) -> None:
    browser = place.browser()
    first = await browser.launch("ch-un", "d1", "ALPHA")
    before = len(await place.drafts())
    second = await browser.launch("ch-un", "d1", "ALPHA")
    assert first.headers["location"] == second.headers["location"]
    await place.faults("sans-intention")
    third = await browser.launch("ch-un", "d1", "ALPHA")
    assert third.headers["location"] == first.headers["location"]
    assert len(await place.drafts()) == before
    await place.faults()
    other = await place.browser().launch("ch-un", "d4", "ALPHA")
    assert other.headers["location"] not in ("", first.headers["location"])


async def test_two_clicks_at_once_open_one_draft(place: Town) -> None:
    browsers = [place.browser() for _ in range(3)]
    before = len(await place.drafts())
    await place.faults("sans-venue")
    answers = await asyncio.gather(*(browser.launch("ch-un", "d4", "ALPHA") for browser in browsers))
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(await place.drafts()) == before + 1


async def test_without_intent_the_person_chooses(place: Town) -> None:
    browser = place.browser()
    page = await browser.launch("ch-deux", "d3", "BETA")
    assert page.status_code == 200
    assert "Quel télédossier ouvrir" in page.text
    assert "BETA Inès" in page.text
    key = page.text.partition('name="cle" value="')[2].partition('"')[0]
    send = {"cle": key, "workflow": "avis-generique"}
    origin = {"Origin": place.platform}
    stranger = place.browser()
    await stranger.launch("ch-un", "d1", "ALPHA")
    evil = {"Origin": "https://evil.example"}
    choice = place.platform + "/launch/choix"
    assert (await browser.http.post(choice, data=send, headers=evil)).status_code == 403
    refusal(await browser.http.post(choice, data={**send, "cle": "x"}, headers=origin), "choix-expire")
    answer = await browser.http.post(choice, data=send, headers=origin)
    request = await place.fhir.read("ServiceRequest", answer.headers["location"].split("/")[2])
    assert request["category"][0]["coding"][0]["code"] == "avis-generique"
    refusal(await browser.http.post(choice, data=send, headers=origin), "choix-expire")
    again = await browser.launch("ch-deux", "d3", "BETA")
    assert urlsplit(again.headers["location"]).path == answer.headers["location"]


async def test_a_choice_belongs_to_its_session(place: Town) -> None:
    page = await place.browser().launch("ch-un", "d1", "BETA")
    key = page.text.partition('name="cle" value="')[2].partition('"')[0]
    stranger = place.browser()
    await stranger.launch("ch-deux", "d3", "BETA")
    send = {"cle": key, "workflow": "avis-generique"}
    headers = {"Origin": place.platform}
    refusal(
        await stranger.http.post(place.platform + "/launch/choix", data=send, headers=headers),
        "lancement-etranger",
    )


async def test_by_local_number(place: Town) -> None:
    browser = place.browser()
    await browser.launch("ch-un", "d2", "ALPHA")
    assert (await browser.http.get(place.platform + "/session")).json()["practitioner"] == "Practitioner/d2"


async def test_a_doubtful_identity_stays_doubtful(place: Town) -> None:
    browser = place.browser()
    page = await browser.launch("ch-un", "d1", "INCONNU-1")
    key = page.text.partition('name="cle" value="')[2].partition('"')[0]
    answer = await browser.http.post(
        place.platform + "/launch/choix",
        data={"cle": key, "workflow": "avis-urgences"},
        headers={"Origin": place.platform},
    )
    request = await place.fhir.read("ServiceRequest", answer.headers["location"].split("/")[2])
    patient = await place.fhir.read("Patient", request["subject"]["reference"].split("/")[1])
    assert [one["system"] for one in patient["identifier"]] == [f"{BASE}/NamingSystem/ipp/ch-un"]
    assert {one["url"].rpartition("/")[2]: one.get("valueCode") for one in patient["extension"]}[
        "identity-status"
    ] == "douteuse"


@pytest.mark.parametrize("fault", ["sans-kid", "fhiruser-absolu", "sans-venue"])
async def test_allowed_differences(place: Town, fault: str) -> None:
    await place.faults(fault)
    answer = await place.browser().launch("ch-un", "d1", "ALPHA")
    assert urlsplit(answer.headers.get("location", "")).path.endswith("/formulaire")


FAULTS = {
    "decouverte-500": "dpi-injoignable",
    "decouverte-html": "dpi-injoignable",
    "decouverte-enorme": "dpi-injoignable",
    "decouverte-redirection": "dpi-injoignable",
    "decouverte-liste": "dpi-injoignable",
    "jeton-ailleurs": "dpi-configuration",
    "sans-s256": "dpi-configuration",
    "autorisation-refusee": "dpi-refus",
    "autorisation-autre-iss": "identite-non-prouvee",
    "autorisation-sans-code": "lancement-incomplet",
    "code-faux": "code-refuse",
    "jeton-500": "dpi-injoignable",
    "jeton-html": "dpi-injoignable",
    "jeton-enorme": "dpi-injoignable",
    "jeton-sans-acces": "dpi-configuration",
    "sans-id-token": "identite-non-prouvee",
    "alg-none": "identite-non-prouvee",
    "alg-hs256": "identite-non-prouvee",
    "signature": "identite-non-prouvee",
    "kid-inconnu": "identite-non-prouvee",
    "iss": "identite-non-prouvee",
    "aud": "identite-non-prouvee",
    "azp": "identite-non-prouvee",
    "nonce": "identite-non-prouvee",
    "sans-nonce": "identite-non-prouvee",
    "expire": "identite-non-prouvee",
    "futur": "identite-non-prouvee",
    "sans-fhiruser": "praticien-illisible",
    "fhiruser-ailleurs": "praticien-illisible",
    "praticien-404": "praticien-illisible",
    "praticien-anonyme": "praticien-illisible",
    "praticien-inconnu": "praticien-inconnu",
}
AFTER_SIGN_IN = {
    "sans-patient": "patient-absent",
    "patient-404": "patient-illisible",
    "patient-autre": "patient-illisible",
    "patient-sans-nom": "patient-illisible",
    "patient-sans-identifiant": "patient-illisible",
    "patient-tordu": "patient-illisible",
    "patient-html": "dpi-injoignable",
}


@pytest.mark.parametrize("fault", [*FAULTS, *AFTER_SIGN_IN])
async def test_what_a_dpi_gets_wrong(place: Town, fault: str) -> None:
    await place.faults(fault)
    browser, before = place.browser(), len(await place.drafts())
    refusal(await browser.launch("ch-un", "d1", "ALPHA"), {**FAULTS, **AFTER_SIGN_IN}[fault])
    signed_in = (await browser.http.get(place.platform + "/session")).status_code == 200
    assert signed_in is (fault in AFTER_SIGN_IN)
    assert len(await place.drafts()) == before
    assert len(await local.list_accounts(place.store)) == 4, "no account is invented"


async def test_every_fault_is_tried(place: Town) -> None:
    async with httpx.AsyncClient() as http:
        offered = set((await http.get(place.dpi + "/panne")).json()["possibles"])
    allowed = {"sans-kid", "fhiruser-absolu", "sans-venue", "sans-intention"}
    # a kept key set hides these two; they have a town of their own
    assert offered == {*FAULTS, *AFTER_SIGN_IN, *allowed, "cles-500", "cles-vides"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({}, "dpi-inconnu"),
        ({"iss": "https://evil.example/fhir", "launch": "x"}, "dpi-inconnu"),
        ({"iss": "http://169.254.169.254/latest", "launch": "x"}, "dpi-inconnu"),
        ({"iss": "REGISTERED/", "launch": "x"}, "dpi-inconnu"),
        ({"iss": "REGISTERED/../../x", "launch": "x"}, "dpi-inconnu"),
        ({"iss": "REGISTERED@evil.example", "launch": "x"}, "dpi-inconnu"),
        ({"iss": "file:///etc/passwd", "launch": "x"}, "dpi-inconnu"),
        ({"iss": "x" * 5000, "launch": "x"}, "dpi-inconnu"),
        ({"iss": "REGISTERED"}, "lancement-incomplet"),
        ({"iss": "REGISTERED", "launch": "x" * 3000}, "lancement-incomplet"),
        ({"iss": "REGISTERED", "launch": "inconnu"}, "dpi-refus"),
        ({"iss": "\u0000é\udc80", "launch": "x"}, "dpi-inconnu"),
    ],
)
async def test_foreign_or_broken_launches(place: Town, query: dict[str, str], code: str) -> None:
    browser = place.browser()
    await browser.sign_in("ch-un", "d1")
    sent = {name: value.replace("REGISTERED", place.issuer("ch-un")) for name, value in query.items()}
    refusal(await browser.follow(f"{place.platform}/launch?{urlencode(sent, errors='replace')}"), code)


@pytest.mark.parametrize(
    "query", ["", "?state=", "?state=x&code=y", "?code=y", "?state=%00%ff&code=%00", "?error=x"]
)
async def test_callbacks_that_answer_nothing(place: Town, query: str) -> None:
    refusal(await place.browser().http.get(f"{place.platform}/launch/callback{query}"), "lancement-expire")


async def callback_address(place: Town, browser: Any) -> str:
    """A launch, stopped just before the platform's callback."""
    await browser.sign_in("ch-un", "d1")
    stopped = await browser.follow(await browser.click("ch-un", "ALPHA"), "/launch/callback")
    return str(stopped.headers["location"])


async def test_a_callback_serves_once(place: Town) -> None:
    browser = place.browser()
    address = await callback_address(place, browser)
    assert (await browser.http.get(address)).status_code == 303
    refusal(await browser.http.get(address), "lancement-expire")


async def test_a_callback_in_another_browser(place: Town) -> None:
    """A launch begun by somebody else must not sign this browser in."""
    browser, victim = place.browser(), place.browser()
    address = await callback_address(place, browser)
    refusal(await victim.http.get(address), "lancement-etranger")
    assert (await victim.http.get(place.platform + "/session")).status_code == 401
    refusal(await browser.http.get(address), "lancement-expire")


async def test_a_code_of_another_launch(place: Town) -> None:
    """PKCE: a stolen code does not fit another launch's verifier."""
    browser, thief = place.browser(), place.browser()
    stolen = parse_qs(urlsplit(await callback_address(place, browser)).query)["code"][0]
    own = parse_qs(urlsplit(await callback_address(place, thief)).query)
    query = urlencode({"state": own["state"][0], "code": stolen})
    refusal(await thief.http.get(f"{place.platform}/launch/callback?{query}"), "code-refuse")


async def test_a_launch_of_another_person(place: Town) -> None:
    """The DPI binds a launch to the session that made it."""
    maker, other = place.browser(), place.browser()
    await maker.sign_in("ch-un", "d1")
    address = await maker.click("ch-un", "ALPHA")
    await other.sign_in("ch-un", "d2")
    refusal(await other.follow(address), "dpi-refus")


async def test_a_launch_serves_once(place: Town) -> None:
    browser = place.browser()
    await browser.sign_in("ch-un", "d1")
    address = await browser.click("ch-un", "ALPHA")
    assert (await browser.follow(address, "/dossiers/")).status_code == 303
    refusal(await browser.follow(address), "dpi-refus")


async def test_two_tabs_do_not_disturb_each_other(place: Town) -> None:
    browser = place.browser()
    first, second = await callback_address(place, browser), await callback_address(place, browser)
    for address in (first, second):
        assert (await browser.http.get(address)).status_code == 303


async def test_a_launch_expires(place: Town) -> None:
    browser = place.browser()
    address = await callback_address(place, browser)
    for key, value in await place.store.list_records("dpi-launch"):
        await place.store.put_record("dpi-launch", key, value, expires=1)
    refusal(await browser.http.get(address), "lancement-expire")


async def test_a_disabled_account(place: Town) -> None:
    await local.set_disabled(place.store, "d1", True)
    try:
        refusal(await place.browser().launch("ch-un", "d1", "ALPHA"), "compte-desactive")
    finally:
        await local.set_disabled(place.store, "d1", False)


async def test_the_launch_replaces_another_person(place: Town) -> None:
    browser = place.browser()
    await browser.launch("ch-un", "d1", "ALPHA")
    before = dict(browser.http.cookies)["teledossier"]
    await browser.launch("ch-un", "d2", "ALPHA")
    assert (await browser.http.get(place.platform + "/session")).json()["practitioner"] == "Practitioner/d2"
    left = {"Cookie": f"teledossier={before}"}
    async with httpx.AsyncClient() as http:
        assert (await http.get(place.platform + "/session", headers=left)).status_code == 401


async def test_a_dpi_that_is_down(place: Town) -> None:
    from smart_launch.app.dpi.issuers import Issuer, register, remove

    gone = "http://127.0.0.1:9/fhir"
    await register(place.store, Issuer(gone, "ch-un", "CH Un", "teledossier"))
    try:
        query = urlencode({"iss": gone, "launch": "x"})
        refusal(await place.browser().follow(f"{place.platform}/launch?{query}"), "dpi-injoignable")
    finally:
        await remove(place.store, gone)


async def test_a_role_elsewhere_is_no_role_here(place: Town) -> None:
    """A person of another establishment, vouched for by this DPI, has no function here."""
    from smart_launch.app.dpi.issuers import Issuer, register

    issuer = place.issuer("ch-deux")
    await register(place.store, Issuer(issuer, "ch-un", "CH Un", "teledossier"))
    try:
        refusal(await place.browser().launch("ch-deux", "d3", "BETA"), "sans-fonction")
    finally:
        await register(place.store, Issuer(issuer, "ch-deux", "CH Deux", "teledossier"))


async def test_with_a_shared_secret_and_without_keys(tmp_path: Path) -> None:
    async with town(tmp_path, ["--client-secret", "s%:é /+"], "s%:é /+") as other:
        await other.faults("cles-500")
        refusal(await other.browser().launch("ch-un", "d1", "ALPHA"), "dpi-injoignable")
        await other.faults("cles-vides")
        refusal(await other.browser().launch("ch-un", "d1", "ALPHA"), "dpi-injoignable")
        await other.faults()
        answer = await other.browser().launch("ch-un", "d1", "ALPHA")
        assert urlsplit(answer.headers["location"]).path.endswith("/formulaire")
