"""The sites, for their administration: gateways, systems with their switch, communities. R086"""

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
from smart_launch.app.rendering import render
from smart_launch.app.views import sites
from smart_launch.app.views.reading import own_reference

JSON = {"accept": "application/json"}
SWITCHES = {"activer": True, "suspendre": False}


def routes(desk: Desk) -> list[BaseRoute]:
    async def listed(request: Request) -> Response:
        fhir = desk.fhir(request)
        (me, _), answer = await asyncio.gather(
            desk.me(request, fhir), fhir.request("GET", "/gateway/sites", headers=JSON)
        )
        found = sites.ordered(sites.site(one, desk.zone, desk.now()) for one in answer.json())
        if len(found) == 1:
            return RedirectResponse(f"/sites/{quote(found[0].id, safe='')}", 303)
        return render("sites.html", {"moi": me, "sites": found})

    async def show(request: Request) -> Response:
        return await _page(desk, request, {"fait": request.query_params.get("fait", "")})

    async def act(request: Request) -> Response:
        """Switch a system or a gateway, or try whether a system answers."""
        async with request.form() as form:
            action = str(form.get("action", ""))
        fhir, id = desk.fhir(request), quote(request.path_params["systeme"], safe="")
        if action == "essayer":
            answer = await fhir.request("POST", f"/gateway/peers/{id}/echo", headers=JSON)
            return await _page(
                desk, request, {"essai": _tried(request.path_params["systeme"], answer.json())}
            )
        if action not in SWITCHES:
            raise FhirError(400, {})
        parameter = {"name": "active", "valueBoolean": SWITCHES[action]}
        await fhir.operation(f"Endpoint/{id}/$activate", [parameter])
        site = quote(request.path_params["site"], safe="")
        return RedirectResponse(f"/sites/{site}?fait=system-{'on' if SWITCHES[action] else 'off'}", 303)

    return [
        Route("/sites", guarded(listed), methods=["GET"]),
        Route("/sites/{site}", guarded(show), methods=["GET"]),
        Route("/sites/{site}/systemes/{systeme}", guarded(act), methods=["POST"]),
    ]


async def _page(desk: Desk, request: Request, more: Mapping[str, Any]) -> Response:
    fhir, id = desk.fhir(request), quote(request.path_params["site"], safe="")
    (me, _), answer, organizations = await asyncio.gather(
        desk.me(request, fhir),
        fhir.request("GET", f"/gateway/sites/{id}", headers=JSON),
        fhir.all("Organization", [("partof", f"Organization/{id}"), ("_count", "200")]),
    )
    context = {
        "moi": me,
        "site": sites.site(answer.json(), desk.zone, desk.now()),
        "communautes": await _communities(desk, fhir, organizations),
        "essai": None,
    }
    return render("site.html", {**context, **more})


async def _communities(desk: Desk, fhir: Fhir, organizations: list[Any]) -> list[sites.Community]:
    refs = [own_reference(one) for one in organizations]
    roles: list[Any] = []
    for start in range(0, len(refs), 50):
        params = [("organization", ",".join(refs[start : start + 50])), ("_count", "200")]
        roles += await fhir.all("PractitionerRole", params)
    directory = await desk.directory.load(fhir, [], roles)
    return sites.communities(organizations, roles, directory)


def _tried(id: str, answer: Mapping[str, Any]) -> dict[str, str]:
    """Which system, in what tone, and the sentence."""
    if answer["reachable"]:
        return {"id": id, "ton": "fait", "texte": words.SYSTEM_ANSWERED.format(n=answer["milliseconds"])}
    why = words.TRANSFER_REASONS.get(str(answer["code"]), words.SYSTEM_STATES["away"] + ".")
    return {"id": id, "ton": "alerte", "texte": why}
