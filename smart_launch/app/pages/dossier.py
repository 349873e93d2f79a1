"""An open télédossier: page, live parts, reading, steps, documents, proposed exams (R093–R104, R110–R121)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from smart_launch.app import words
from smart_launch.app.desk import Desk
from smart_launch.app.fhir import Fhir, FhirError
from smart_launch.app.pages.answers import guarded, possible_now, reason
from smart_launch.app.pages.under_way import NOTHING, under_way
from smart_launch.app.rendering import fragment, render
from smart_launch.app.views.dossier import Dossier, Setting, dossier, references, request_of
from smart_launch.app.views.people import Me
from smart_launch.app.views.reading import WORKFLOW, Json, code
from smart_launch.app.views.steps import EDITORS

CHUNK = 256 * 1024
MOST_DOCUMENTS = 1_700_000_000  # bytes of a form with files: one of the largest size
MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,99}", re.IGNORECASE)
REFUSALS = (400, 403, 404, 409, 412, 413, 415, 422)


def routes(desk: Desk) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        fhir, id = desk.fhir(request), request.path_params["id"]
        me, opened = await load(desk, request, fhir, id)
        if opened.state == "brouillon":
            return RedirectResponse(f"/dossiers/{id}/formulaire", 303)
        more = {"fait": request.query_params.get("fait", "")}
        more |= await under_way(desk, fhir, id, [exam.uid for exam in opened.exams])
        return render("dossier.html", _context(me, opened, more))

    async def live(request: Request) -> Response:
        """The parts that change, for the page's script: 304 while nothing did."""
        fhir, id = desk.fhir(request), request.path_params["id"]
        me, opened = await load(desk, request, fhir, id)
        more = await under_way(desk, fhir, id, [exam.uid for exam in opened.exams])
        return fragment(request, "_suivi.html", _context(me, opened, more))

    async def read(request: Request) -> Response:
        """The reading by a recipient, posted by the page once it is shown: a GET changes nothing."""
        id = request.path_params["id"]
        parameters = [{"name": "step", "valueCode": "read"}]
        path = f"ServiceRequest/{quote(id, safe='')}/$step"
        await desk.fhir(request).operation(path, parameters)
        if request.headers.get("accept", "").startswith("text/html"):
            return RedirectResponse(f"/dossiers/{id}?fait=read", 303)
        return Response(status_code=204)

    async def step(request: Request) -> Response:
        return await _step(desk, request)

    async def document(request: Request) -> Response:
        return await _document(desk, request)

    async def exam(request: Request) -> Response:
        return await _exam(desk, request)

    async def prior(request: Request) -> Response:
        return await _prior(desk, request)

    return [
        Route("/dossiers/{id}", guarded(show), methods=["GET"]),
        Route("/dossiers/{id}/suivi", guarded(live), methods=["GET"]),
        Route("/dossiers/{id}/lecture", guarded(read), methods=["POST"]),
        Route("/dossiers/{id}/etapes", guarded(step), methods=["POST"]),
        Route("/dossiers/{id}/documents", guarded(document, MOST_DOCUMENTS), methods=["POST"]),
        Route("/dossiers/{id}/examens", guarded(exam), methods=["POST"]),
        Route("/dossiers/{id}/anteriorites", guarded(prior), methods=["POST"]),
    ]


async def load(desk: Desk, request: Request, fhir: Fhir, id: str) -> tuple[Me, Dossier]:
    """The télédossier's view for this reader. Raises FhirError 404 when it is not there for him."""
    (me, _), resources = await asyncio.gather(desk.me(request, fhir), fhir.everything(id))
    found = request_of(resources, id)
    if not found:
        raise FhirError(404, {})
    workflow = code(found.get("category"), WORKFLOW)
    plan, questionnaire, directory = await asyncio.gather(
        desk.definitions.get(fhir, "PlanDefinition", workflow),
        desk.definitions.get(fhir, "Questionnaire", workflow),
        desk.directory.load(fhir, references(resources), resources),
    )
    setting = Setting(me, directory, desk.zone, desk.now(), plan, questionnaire)
    return me, dossier(found, resources, setting)


def _context(me: Me, opened: Dossier, more: Mapping[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = {
        "moi": me,
        "dossier": opened,
        "editeurs": EDITORS,
        "message": "",
        "detail": "",
        "saisie": {},
        "ouverte": "",
        **NOTHING,
    }
    return {**context, **more}


async def _form(request: Request) -> dict[str, str]:
    async with request.form() as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}


async def _step(desk: Desk, request: Request) -> Response:
    """One step; refused, the page comes back with the reason and everything typed."""
    fhir, id = desk.fhir(request), request.path_params["id"]
    form = await _form(request)
    name = form.get("etape", "")
    if name not in EDITORS:
        raise FhirError(400, {})
    try:
        await fhir.operation(f"ServiceRequest/{quote(id, safe='')}/$step", step_parameters(name, form))
    except FhirError as error:
        if error.status not in REFUSALS:
            raise
        me, opened = await load(desk, request, fhir, id)
        refused = {
            "message": reason(error),
            "detail": possible_now(error),
            "saisie": form,
            "ouverte": name,
        }
        return render("dossier.html", _context(me, opened, refused), error.status)
    return RedirectResponse(f"/dossiers/{id}?fait={name}", 303)


def step_parameters(name: str, form: Mapping[str, str]) -> list[Json]:
    """Parameters.parameter of `$step` from an editor's fields."""
    parameters: list[Json] = [{"name": "step", "valueCode": name}]
    text = form.get("texte", "").replace("\r\n", "\n").strip()
    motive = form.get("motif", "").replace("\r\n", "\n").strip()
    if text:
        parameters.append({"name": "text", "valueString": text})
    if motive:
        parameters.append({"name": "reason", "valueString": motive})
    minutes = form.get("minutes", "").strip()
    if minutes.isdecimal() and len(minutes) <= 4:
        parameters.append({"name": "minutes", "valueInteger": int(minutes)})
    return parameters


async def _document(desk: Desk, request: Request) -> Response:
    """A joined file: the bytes as a Binary, streamed; then `$attach` with its description (R092–R096)."""
    fhir, id = desk.fhir(request), request.path_params["id"]
    back = f"/dossiers/{id}"
    async with request.form(max_files=20) as form:
        files = [item for item in form.getlist("fichier") if isinstance(item, UploadFile) and item.filename]
        try:
            if not files:
                raise FhirError(422, {"issue": [_issue(words.NO_FILE)]})
            for item in files:
                await _attach(fhir, id, item)
        except FhirError as error:
            if error.status not in REFUSALS:
                raise
            if request.headers.get("accept", "").startswith("application/json"):
                return Response(reason(error), error.status, media_type="text/plain")
            me, opened = await load(desk, request, fhir, id)
            return render("dossier.html", _context(me, opened, {"message": reason(error)}), error.status)
    if request.headers.get("accept", "").startswith("application/json"):
        return Response(status_code=204)
    return RedirectResponse(f"{back}?fait=attach", 303)


def _issue(text: str) -> Json:
    return {"severity": "error", "code": "invalid", "details": {"text": text}}


async def _attach(fhir: Fhir, id: str, item: UploadFile) -> None:
    media_type = item.content_type if MEDIA_TYPE.fullmatch(item.content_type or "") else None
    media_type = media_type or "application/octet-stream"
    binary = await fhir.upload(_chunks(item), media_type, id)
    title = (item.filename or words.DOCUMENT).replace("\\", "/").rsplit("/", 1)[-1][:200]
    attachment: Json = {"contentType": media_type, "url": binary, "title": title}
    if item.size:
        attachment["size"] = item.size
    described: Json = {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": attachment}],
    }
    await fhir.operation(
        f"ServiceRequest/{quote(id, safe='')}/$attach", [{"name": "document", "resource": described}]
    )


async def _chunks(item: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await item.read(CHUNK):
        yield chunk


async def _exam(desk: Desk, request: Request) -> Response:
    """A person's decision on a proposed exam."""
    fhir, id = desk.fhir(request), request.path_params["id"]
    form = await _form(request)
    accept = form.get("decision") == "associer"
    parameters: list[Json] = [
        {"name": "exam", "valueReference": {"reference": form.get("examen", "")}},
        {"name": "accept", "valueBoolean": accept},
    ]
    await fhir.operation(f"ServiceRequest/{quote(id, safe='')}/$attach", parameters)
    target = "/formulaire" if form.get("retour") == "formulaire" else ""
    return RedirectResponse(f"/dossiers/{id}{target}?fait={'exam' if accept else 'exam-refused'}", 303)


async def _prior(desk: Desk, request: Request) -> Response:
    """A person's decision on an earlier exam that was found, or the wish to look again (R097)."""
    id, form = request.path_params["id"], await _form(request)
    path, decision = f"/dicom-web/requests/{quote(id, safe='')}/priors", form.get("decision", "")
    body: Json = {}
    if decision != "again":
        path, body = f"{path}/{quote(form.get('examen', '-'), safe='')}", {"decision": decision}
    headers = {"accept": "application/json", "content-type": "application/json"}
    await desk.fhir(request).request("POST", path, json=body, headers=headers)
    return RedirectResponse(f"/dossiers/{id}?fait=prior-{quote(decision, safe='')}", 303)
