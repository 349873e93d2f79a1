"""Which series of a draft's exams are sent to the recipients' PACS (R080–R082). Works without scripts."""

from __future__ import annotations

import asyncio
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

JSON = {"accept": "application/json"}
PAGE = "/dossiers/{id}/envoi"


def routes(desk: Desk) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        return await _page(desk, request)

    async def choose(request: Request) -> Response:
        async with request.form() as form:
            chosen = [value for value in form.getlist("serie") if isinstance(value, str)]
        fhir, id = desk.fhir(request), request.path_params["id"]
        ticked = {one["study"]: _ticked(one, chosen) for one in await _sending(fhir, id)}
        if not all(ticked.values()):
            return await _page(desk, request, words.NO_SERIES_TO_SEND, 422)
        for study, series in ticked.items():
            path = f"/dicom-web/requests/{quote(id, safe='')}/sending/{quote(study, safe='')}"
            headers = {**JSON, "content-type": "application/json"}
            try:
                await fhir.request("PUT", path, json={"series": series}, headers=headers)
            except FhirError as error:
                return await _page(desk, request, words.SERIES_NOT_CHOSEN, error.status)
        return RedirectResponse(f"/dossiers/{id}?fait=series", 303)

    return [
        Route(PAGE, guarded(show), methods=["GET"]),
        Route(PAGE, guarded(choose), methods=["POST"]),
    ]


def _ticked(exam: dict[str, Any], chosen: list[str]) -> list[str]:
    return [str(one["uid"]) for one in exam["series"] if one["uid"] in chosen]


async def _sending(fhir: Fhir, id: str) -> list[dict[str, Any]]:
    answer = await fhir.request("GET", f"/dicom-web/requests/{quote(id, safe='')}/sending", headers=JSON)
    found = answer.json()
    return found if isinstance(found, list) else []


async def _page(desk: Desk, request: Request, message: str = "", status: int = 200) -> Response:
    fhir, id = desk.fhir(request), request.path_params["id"]
    (me, opened), sending = await asyncio.gather(load(desk, request, fhir, id), _sending(fhir, id))
    titles = {exam.uid: exam for exam in opened.exams}
    exams = [{**one, "exam": titles[one["study"]]} for one in sending if one["study"] in titles]
    context = {"moi": me, "dossier": opened, "examens": exams, "message": message}
    return render("envoi.html", context, status)
