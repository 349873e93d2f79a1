"""The whole platform from outside: what anybody may send without harm, and who sees what, with exact sets.

One running demonstration serves the module; requests go over sockets through every layer.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running import ROOT, Running, demo

SCENARIO = Path(str(files("fhir_server") / "demo" / "scenario.yaml"))
CLINICAL = (
    "ServiceRequest", "Task", "Patient", "ImagingStudy", "DiagnosticReport", "Communication",
    "QuestionnaireResponse", "DocumentReference", "Binary", "Consent", "Provenance", "AuditEvent",
)  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The demonstration with one exam (ex09, 42 images) sent in."""
    folder = tmp_path_factory.mktemp("platform")
    with demo(folder) as started:
        subprocess.run(
            [sys.executable, "-m", "simulators.modality", "--scenario", str(SCENARIO), "--exam", "ex09",
             "--to", f"127.0.0.1:{started.dimse_port}", "--folder", str(folder / "exams")],
            check=True, cwd=ROOT, timeout=60, capture_output=True,
        )  # fmt: skip
        until = time.monotonic() + 30
        while started.get("ImagingStudy?basedon:missing=false&_count=0").json()["total"] != 1:
            assert time.monotonic() < until, "the exam was not attached"
            time.sleep(0.2)
        yield started


@pytest.fixture(scope="module")
def everything(running: Running) -> dict[str, list[dict[str, Any]]]:
    """All that is stored, as the backend client sees it."""
    with running.machine() as machine:
        return {type: _all(machine, type) for type in CLINICAL}


def _all(client: httpx.Client, type: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    address = f"/fhir/{type}{'&' if '?' in type else '?'}_count=100"
    while address:
        bundle = client.get(address).raise_for_status().json()
        found += [entry["resource"] for entry in bundle.get("entry", [])]
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        address = links.get("next", "")
    return found


def _audience(request: dict[str, Any]) -> set[str]:
    return {
        extension["valueReference"]["reference"]
        for extension in request.get("extension", [])
        if extension["url"].endswith("/audience")
    }


@pytest.mark.parametrize(
    ("who", "communities", "files"),
    [
        ("p08", {"urg-auch"}, 3),
        ("p05", {"neurovasc-tls"}, 3),
        ("p01", {"urg-chiva"}, 4),
        ("p02", {"med-chiva"}, 1),
        ("p15", {"nephro-perp"}, 1),
        ("p19", set(), 0),
        ("p21", set(), 0),
    ],
)
def test_each_sees_their_own_and_nothing_else(
    running: Running, everything: dict[str, list[dict[str, Any]]], who: str, communities: set[str], files: int
) -> None:
    mine = {f"Practitioner/{who}", *(f"Organization/{community}" for community in communities)}
    visible = {one["id"] for one in everything["ServiceRequest"] if _audience(one) & mine}
    assert len(visible) == files, "positive control"
    patients = {
        one["subject"]["reference"].removeprefix("Patient/")
        for one in everything["ServiceRequest"]
        if one["id"] in visible
    }
    studies = {
        one["id"]
        for one in everything["ImagingStudy"]
        if {ref["reference"] for ref in one.get("basedOn", [])} & {f"ServiceRequest/{id}" for id in visible}
    }
    with running.person(who) as person:
        seen = {type: {one["id"] for one in _all(person, type)} for type in CLINICAL}
        assert seen["ServiceRequest"] == visible
        assert seen["Patient"] == patients
        assert seen["ImagingStudy"] == studies
        for type in CLINICAL:
            total = person.get(f"/fhir/{type}?_count=0").json()["total"]
            assert total >= len(seen[type]) if type == "AuditEvent" else total == len(seen[type])
            hidden = [one["id"] for one in everything[type] if one["id"] not in seen[type]]
            for id in hidden[:40]:
                assert person.get(f"/fhir/{type}/{id}").status_code == 404, f"{type}/{id}"
        found = person.get("/dicom-web/studies", headers={"Accept": "application/dicom+json"})
        uids = {one["0020000D"]["Value"][0] for one in found.json()} if found.content else set()
        assert uids == studies
        for one in everything["ImagingStudy"]:
            answer = person.get(f"/dicom-web/studies/{one['id']}/metadata")
            assert answer.status_code == (200 if one["id"] in studies else 404)


def test_a_stranger_can_do_nothing_to_a_file(running: Running) -> None:
    with running.machine() as machine, running.person("p15") as stranger:
        id = _all(machine, "ServiceRequest?identifier=TD-2024-000001")[0]["id"]
        step = {"resourceType": "Parameters", "parameter": [{"name": "step", "valueCode": "read"}]}
        for operation in ("step", "save", "attach", "discard"):
            answers = [
                stranger.post(f"/fhir/ServiceRequest/{one}/${operation}", json=step, headers=FHIR)
                for one in (id, "nothing-there")
            ]
            assert answers[0].status_code in (400, 404), operation
            # What one may not see and what is not there are told apart by nothing.
            assert answers[0].status_code == answers[1].status_code, operation
            assert answers[0].text.replace(id, "") == answers[1].text.replace("nothing-there", ""), operation
        assert stranger.post(f"/fhir/ServiceRequest/{id}/$step", json=step, headers=FHIR).status_code == 404
        for path in ("", "/suivi", "/formulaire"):
            assert stranger.get(f"/dossiers/{id}{path}").status_code == 404, path
        before = machine.get(f"/fhir/ServiceRequest/{id}").headers["etag"]
        assert stranger.delete(f"/fhir/ServiceRequest/{id}").status_code == 403
        forged = machine.get(f"/fhir/ServiceRequest/{id}").json()
        assert stranger.put(f"/fhir/ServiceRequest/{id}", json=forged, headers=FHIR).status_code == 403
        assert machine.get(f"/fhir/ServiceRequest/{id}").headers["etag"] == before


FHIR = {"Content-Type": "application/fhir+json"}
BODIES = (
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"resourceType":5}', b'{"resourceType":"Foo"}',
    b'{"resourceType":"Patient","name":"x"}', b'{"resourceType":"Patient","id":"a/b"}',
    b'{"resourceType":"Patient","birthDate":"9999999-99-99"}',
    b'{"resourceType":"Patient","extension":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 5000 + b"}",
    b'{"resourceType":"Patient","name":[{"family":"\\ud800"}]}',
    b'{"resourceType":"Bundle","type":"transaction","entry":[5,null,{"request":5}]}',
    b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"WHAT","url":"/../x"}}]}',
    b'{"resourceType":"ServiceRequest","status":"active","intent":"order","subject":{"reference":"Patient/x"},'
    b'"authoredOn":"9999-12-31T23:59:59-14:00"}',
    b'{"resourceType":"Parameters","parameter":[{"name":5}]}',
    b'{"resourceType":"Parameters","parameter":[{"name":"step","valueCode":5}]}',
    b'{"resourceType":"Parameters","parameter":[{"name":"patient","resource":5}]}',
)  # fmt: skip
QUERIES = (
    "_count=-1", "_count=99999999999999999999", "_sort=zz", "birthdate=zz", "birthdate=gt", "name:zz=1",
    "_has:::=1", "_id=%00", "_include=zz", "_cursor=zz", "a=b&a=b", "identifier=%7C%7C%7C", "%ff=%ff",
    "_format=xml", "_total=zz", "_elements=", "birthdate=" + ",".join(["2020"] * 600),
)  # fmt: skip
FORMS = (
    b"", b"%ff=%ff", b"a=" * 10_000, b"grant_type=client_credentials&client_id=%00&client_secret=x",
    b"identifiant=%00&mot_de_passe=%00", b"etape=zz", b"etape=answer&texte=" + b"a" * 3_000_000,
    b"version=zz&action=envoyer", b"correspondant=Organization/zz&action=envoyer&q-nihss=zzz&priorite=zz",
)  # fmt: skip
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data")


def _harmless(answer: httpx.Response) -> None:
    """Refused or served, never broken; 501 names what is not offered."""
    assert answer.status_code < 500 or answer.status_code == 501, (
        answer.request.method, answer.request.url.path, answer.status_code,
    )  # fmt: skip


def test_no_body_breaks_fhir(running: Running) -> None:
    with running.machine() as machine, running.person("p08") as person:
        id = _all(person, "ServiceRequest")[0]["id"]
        operations = [
            f"/fhir/ServiceRequest/{id}/${name}" for name in ("step", "save", "attach", "everything")
        ]
        paths = [
            "/fhir",
            "/fhir/Patient",
            "/fhir/Foo",
            "/fhir/ServiceRequest",
            "/fhir/Binary",
            "/fhir/ServiceRequest/$start",
            *operations,
        ]
        for client, path, body in itertools.product((machine, person), paths, BODIES):
            _harmless(client.post(path, content=body, headers=FHIR))
        for body, match in itertools.product(BODIES, ('W/"1"', "x", 'W/"99999999999999999999999"')):
            _harmless(machine.put("/fhir/Patient/abc", content=body, headers={**FHIR, "If-Match": match}))


def test_no_query_breaks_a_search(running: Running) -> None:
    with running.machine() as machine, running.person("p08") as person:
        for client, type, query in itertools.product(
            (machine, person), ("Patient", "ServiceRequest"), QUERIES
        ):
            _harmless(client.get(f"/fhir/{type}?{query}"))


def test_no_question_breaks_dicomweb(running: Running) -> None:
    with running.machine() as machine:
        study = _all(machine, "ImagingStudy")[0]["id"]
        series = machine.get(f"/dicom-web/studies/{study}/series").json()[0]["0020000E"]["Value"][0]
        place = f"/dicom-web/studies/{study}/series/{series}/instances"
        place += "/" + machine.get(place).json()[0]["00080018"]["Value"][0]
        assert machine.get(place + "/rendered").status_code == 200, "positive control"
        for query in (
            "limit=-1", "offset=99999999999999999999", "PatientName=%00", "StudyDate=zz",
            "StudyInstanceUID=%5C,", "includefield=zz", "00100010.zz=1", "PatientID=" + "*" * 500,
        ):  # fmt: skip
            _harmless(machine.get(f"/dicom-web/studies?{query}"))
        what = (
            "rendered?window=a,b,c", "rendered?window=nan,nan,linear", "rendered?window=1,0,linear",
            "rendered?viewport=0,0", "rendered?viewport=99999999,99999999", "rendered?quality=1000",
            "frames/0", "frames/1,2,zz", "frames/99999999999999999999", "frames/1/rendered", "metadata",
        )  # fmt: skip
        accepts = ("*/*", "image/jpeg", "image/zz", ";;,,", "multipart/related; type=zz", "application/dicom")
        for path, accept in itertools.product(what, accepts):
            _harmless(machine.get(f"{place}/{path}", headers={"Accept": accept}))


def test_no_form_breaks_a_page(running: Running) -> None:
    with running.person("p08") as person, httpx.Client(base_url=running.url) as anybody:
        id = _all(person, "ServiceRequest")[0]["id"]
        pages = [f"/dossiers/{id}/{name}" for name in ("etapes", "formulaire", "documents", "lecture")]
        pages += [f"/dossiers/{id}/formulaire/enregistrement", "/dossiers/nouveau", "/dossiers/%00"]
        for path, body, type in itertools.product(pages, FORMS, FORM_TYPES):
            _harmless(person.post(path, content=body, headers={"Content-Type": type}))
        ways = ("/oauth/token", "/oauth/introspect", "/oauth/revoke", "/connexion", "/launch/choix")
        for path, body, type in itertools.product(ways, FORMS, (*FORM_TYPES, "application/json")):
            headers = {"Content-Type": type, "Origin": running.url}
            _harmless(anybody.post(path, content=body, headers=headers))
        for path in (
            "/launch?iss=x&launch=y",
            "/launch?iss=%00",
            "/launch/callback?state=x&code=y",
            "/dossiers/%00",
        ):
            _harmless(anybody.get(path))


def test_an_unknown_address_is_a_french_page(running: Running) -> None:
    with running.person("p08") as person:
        answer = person.get("/nulle-part")
        assert answer.status_code == 404
        assert "Introuvable" in answer.text
        assert person.get("/fhir/Nothing").headers["content-type"].startswith("application/fhir+json")


def test_no_header_breaks_a_page(running: Running) -> None:
    with running.person("p08") as person:
        cookie = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
        strange = (
            ("user-agent", "naïf é"),
            ("x-request-id", "\xff\xfe"),
            ("cookie", f"{cookie}; autre=é"),
        )
        for name, value in strange:
            headers = httpx.Headers({name: value}, encoding="latin-1")
            assert person.get("/dossiers", headers=headers).status_code == 200, name


def test_no_page_mark_breaks_the_list(running: Running) -> None:
    with running.person("p08") as person:
        for mark in ("%00", "%0d%0aX: y", "_cursor=zz", "zz=1"):
            _harmless(person.get(f"/dossiers?page={mark}"))


def test_a_foreign_page_cannot_act_for_a_person(running: Running) -> None:
    with running.person("p08") as person:
        id = _all(person, "ServiceRequest")[0]["id"]
        for origin in ("http://ailleurs.exemple.invalid", "null"):
            answer = person.post(
                f"/dossiers/{id}/etapes", data={"etape": "cancel"}, headers={"Origin": origin}
            )
            assert answer.status_code == 403, origin


def test_the_log_has_no_traceback_and_no_patient(running: Running) -> None:
    """Last in the module: after everything above."""
    log = running.log.read_text()
    assert "Ready in" in log
    for word in ("Traceback", "LABORDE", "153053299010337"):
        assert word not in log, word
