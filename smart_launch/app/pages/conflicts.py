"""Images that came a second time with other content: a person says which are shown. Works without scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from smart_launch.app import words
from smart_launch.app.desk import Desk
from smart_launch.app.fhir import Fhir, FhirError
from smart_launch.app.pages.answers import guarded
from smart_launch.app.pages.dossier import load
from smart_launch.app.rendering import render
from smart_launch.app.views.conflicts import disputed
from smart_launch.app.views.dossier import Dossier
from smart_launch.app.views.exams import Exam
from smart_launch.app.views.people import Me

JSON = {"accept": "application/json"}
PAGE = "/dossiers/{id}/conflits/{study}"
MOST_IMAGES = 50_000  # fields of the form: one for each image


def routes(desk: Desk) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        return await _page(desk, request, {})

    async def decide(request: Request) -> Response:
        async with request.form(max_fields=MOST_IMAGES) as form:
            ticked = [one for one in form.getlist("numero") if isinstance(one, str)]
            numbers = [int(one) for one in ticked if one.isdecimal() and len(one) < 18]
            given = {name: value for name, value in form.items() if isinstance(value, str)}
        reason, serve = given.get("motif", "").strip(), given.get("garder", "")
        if not numbers or not reason:
            message = words.NO_REASON if numbers else words.NO_IMAGE_CHOSEN
            return await _page(desk, request, {"message": message, "motif": reason}, 422)
        await _exam(desk, request, desk.fhir(request))
        body = {"numbers": numbers, "serve": serve, "reason": reason}
        headers = {**JSON, "content-type": "application/json"}
        try:
            await desk.fhir(request).request("POST", _path(request), json=body, headers=headers)
        except FhirError as error:
            if str(error.outcome.get("code")) not in words.CONFLICT_FAILURES:
                raise
            message = words.CONFLICT_FAILURES[str(error.outcome["code"])]
            return await _page(desk, request, {"message": message, "motif": reason}, error.status)
        return RedirectResponse(f"/dossiers/{request.path_params['id']}?fait=conflict", 303)

    return [
        Route(PAGE, guarded(show), methods=["GET"]),
        Route(PAGE, guarded(decide), methods=["POST"]),
    ]


def _path(request: Request) -> str:
    return f"/dicom-web/studies/{quote(request.path_params['study'], safe='')}/conflicts"


async def _exam(desk: Desk, request: Request, fhir: Fhir) -> tuple[Me, Dossier, Exam]:
    """The reader, the télédossier and the exam of the address. Raises FhirError 404 for an exam of
    another."""
    me, opened = await load(desk, request, fhir, request.path_params["id"])
    exam = next((one for one in opened.exams if one.uid == request.path_params["study"]), None)
    if exam is None:
        raise FhirError(404, {})
    return me, opened, exam


async def _page(desk: Desk, request: Request, more: Mapping[str, Any], status: int = 200) -> Response:
    """Raises FhirError."""
    fhir = desk.fhir(request)
    (me, opened, exam), found = await asyncio.gather(
        _exam(desk, request, fhir), fhir.request("GET", _path(request), headers=JSON)
    )
    context = {
        "moi": me,
        "dossier": opened,
        "examen": exam,
        "groupes": disputed(found.json(), desk.zone),
        "message": "",
        "motif": "",
    }
    return render("conflits.html", {**context, **more}, status)
