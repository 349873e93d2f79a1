"""Adding exams to a télédossier: from the site's PACS, from the platform, from this computer, or made here
(R085–R091, R096). Searches name patients, so they go by POST."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from smart_launch.app import words
from smart_launch.app.desk import Desk
from smart_launch.app.fhir import Fhir, FhirError
from smart_launch.app.pages import worklist
from smart_launch.app.pages.answers import guarded
from smart_launch.app.pages.dossier import load
from smart_launch.app.rendering import render
from smart_launch.app.views import transfers
from smart_launch.app.views.times import date_at_time, moment
from smart_launch.app.views.worklist import Filters as Wanted

JSON = {"accept": "application/json"}
CLOSED = frozenset({"clos", "annule", "refuse"})
PAGE = "/dossiers/{id}/examens/ajouter"


def routes(desk: Desk) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        tab = request.query_params.get("onglet", "pacs")
        return await _page(desk, request, {"onglet": tab if tab in words.EXAM_TABS else "pacs"})

    async def act(request: Request) -> Response:
        async with request.form() as form:
            given = {name: value for name, value in form.items() if isinstance(value, str)}
            chosen = [value for value in form.getlist("serie") if isinstance(value, str)]
            ticked = [value for value in form.getlist("etude") if isinstance(value, str)]
        if given.get("action") in ("importer", "importer-tout"):
            return await _import(desk, request, given, chosen)
        if given.get("action") == "ajouter":
            return await _add(desk, request, ticked)
        return await _search(desk, request, given)

    async def stop(request: Request) -> Response:
        """Cancel a transfer, from the télédossier's page."""
        id, transfer = request.path_params["id"], quote(request.path_params["transfert"], safe="")
        await desk.fhir(request).request("DELETE", f"/dicom-web/transfers/{transfer}", headers=JSON)
        return RedirectResponse(f"/dossiers/{id}", 303)

    async def choose(request: Request) -> Response:
        """The button « Examen » above the list: for which télédossier (R091). A name goes by POST."""
        async with request.form() as form:
            name = str(form.get("patient") or "").strip()[:80]
        fhir = desk.fhir(request)
        me, _ = await desk.me(request, fhir)
        wanted = Wanted(tab="tous", text=name)
        listed = await worklist.fetch(fhir, desk.directory, me, wanted, desk.zone, desk.now())
        lines = [row for row in listed.rows if row.state not in CLOSED]
        return render("choisir_dossier.html", {"moi": me, "lignes": lines, "cherche": name})

    return [
        Route("/dossiers/examen", guarded(choose), methods=["GET", "POST"]),
        Route(PAGE, guarded(show), methods=["GET"]),
        Route(PAGE, guarded(act), methods=["POST"]),
        Route("/dossiers/{id}/transferts/{transfert}/arret", guarded(stop), methods=["POST"]),
    ]


async def _page(desk: Desk, request: Request, more: Mapping[str, Any], status: int = 200) -> Response:
    fhir, id = desk.fhir(request), request.path_params["id"]
    (me, opened), answer = await asyncio.gather(
        load(desk, request, fhir, id), fhir.request("GET", "/dicom-web/peers", headers=JSON)
    )
    modalities = {code: words.label(words.MODALITIES, code) for code in transfers.MODALITIES}
    context: dict[str, Any] = {
        "moi": me,
        "dossier": opened,
        "serveurs": answer.json(),
        "deja": {exam.uid for exam in opened.exams},
        "onglets": words.EXAM_TABS,
        "onglet": "pacs",
        "filtres": transfers.of_patient(opened.patient.name, opened.patient.birth),
        "modalites": modalities,
        "aujourdhui": desk.now().strftime("%d/%m/%Y"),
        "serveur": "",
        "resultats": None,
        "etude": None,
        "series": None,
        "message": "",
    }
    return render("ajouter_examen.html", {**context, **more}, status)


async def _search(desk: Desk, request: Request, given: Mapping[str, str]) -> Response:
    """The studies that match, or the series of the one that was chosen."""
    tab = "local" if given.get("onglet") == "local" else "pacs"
    filters, server = transfers.filters(given), given.get("serveur", "")
    if given.get("action") == "effacer":
        filters = transfers.Filters()
    context: dict[str, Any] = {"onglet": tab, "filtres": filters, "serveur": server}
    if given.get("action") == "effacer" or filters.faults:
        return await _page(desk, request, context, 422 if filters.faults else 200)
    fhir, study = desk.fhir(request), given.get("etude", "")
    try:
        if study and tab == "pacs":
            rows = await _ask(fhir, server, "series", {"StudyInstanceUID": study})
            shown = await _ask(fhir, server, "study", {"StudyInstanceUID": study})
            found = {"series": transfers.series(rows), "etude": next(iter(transfers.studies(shown)), None)}
            return await _page(desk, request, {**context, **found})
        asked = transfers.keys(filters)
        rows = await (_here(fhir, asked) if tab == "local" else _ask(fhir, server, "study", asked))
    except FhirError as error:
        message = await _silent_since(desk, fhir, server, error) or _why(error)
        return await _page(desk, request, {**context, "message": message}, error.status)
    return await _page(desk, request, {**context, "resultats": transfers.studies(rows)})


async def _ask(fhir: Fhir, server: str, level: str, keys: Mapping[str, str]) -> list[Any]:
    path = f"/dicom-web/peers/{quote(server, safe='') or '-'}/search"
    headers = {**JSON, "content-type": "application/json"}
    answer = await fhir.request("POST", path, json={"level": level, "keys": dict(keys)}, headers=headers)
    found = answer.json()
    return found if isinstance(found, list) else []


async def _here(fhir: Fhir, keys: Mapping[str, str]) -> list[Any]:
    """The exams on the platform that this reader may see (R088)."""
    params = [*keys.items(), ("limit", "100"), ("fuzzymatching", "true")]
    answer = await fhir.request("GET", "/dicom-web/studies", params=params, headers=JSON)
    return answer.json() if answer.status_code == 200 else []


async def _import(desk: Desk, request: Request, given: Mapping[str, str], chosen: list[str]) -> Response:
    id = request.path_params["id"]
    body = {
        "peer": given.get("serveur", ""),
        "study": given.get("etude", ""),
        "request": id,
        "series": chosen,
    }
    if not chosen and given.get("action") != "importer-tout":
        filters = replace(transfers.filters(given), faults=None)
        return await _page(desk, request, {"filtres": filters, "message": words.NO_SERIES}, 422)
    if str(len(chosen)) == given.get("nombre", ""):
        body["series"] = []  # all: then also what the exam gets while it is fetched
    return await _done(desk, request, "/dicom-web/transfers", body, "exam-asked")


async def _add(desk: Desk, request: Request, ticked: list[str]) -> Response:
    """Exams of the platform, one after another; the first that is refused says why."""
    path = f"/dicom-web/requests/{quote(request.path_params['id'], safe='')}/exams"
    if not ticked:
        return await _page(desk, request, {"onglet": "local", "message": words.NO_EXAM}, 422)
    for study in ticked[:-1]:
        answer = await _done(desk, request, path, {"study": study}, "exam-asked")
        if answer.status_code != 303:
            return answer
    return await _done(desk, request, path, {"study": ticked[-1]}, "exam-asked")


async def _done(desk: Desk, request: Request, path: str, body: Any, fact: str) -> Response:
    headers = {**JSON, "content-type": "application/json"}
    try:
        await desk.fhir(request).request("POST", path, json=body, headers=headers)
    except FhirError as error:
        return await _page(desk, request, {"message": _why(error)}, error.status)
    return RedirectResponse(f"/dossiers/{request.path_params['id']}?fait={fact}", 303)


async def _silent_since(desk: Desk, fhir: Fhir, server: str, error: FhirError) -> str:
    """Since when the gateway of that PACS does not answer; "" when that is not known, or not the reason."""
    if error.outcome.get("code") != "gateway-silent":
        return ""
    peers = (await fhir.request("GET", "/dicom-web/peers", headers=JSON)).json()
    said = next((one.get("silentSince") for one in peers if one.get("id") == server), None)
    at = moment(said, desk.zone)
    return words.GATEWAY_SILENT.format(since=date_at_time(at)) if at else ""


def _why(error: FhirError) -> str:
    slug = str(error.outcome.get("code", ""))
    return words.PACS_FAILURES.get(slug, words.PACS_FAILURES["other"])
