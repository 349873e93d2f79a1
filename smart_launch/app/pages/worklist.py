"""The list of télédossiers: page, live fragment, and the filter form.

The first page joins two searches: the open vital requests (few), and the regular page by cursor; later
pages are the cursor's alone. A patient's name is searched by POST, so that it stands in no address, history
or log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from smart_launch.app.desk import Desk
from smart_launch.app.fhir import Fhir, Page
from smart_launch.app.pages.answers import guarded
from smart_launch.app.rendering import fragment, render
from smart_launch.app.views.people import DirectorySource, Me
from smart_launch.app.views.reading import Json, by_type, many, own_reference, reference
from smart_launch.app.views.worklist import (
    COUNT,
    TABS,
    Filters,
    Sources,
    Worklist,
    filters,
    ordered,
    read_mark,
    row,
    search_params,
)


def routes(desk: Desk) -> list[BaseRoute]:
    async def context(request: Request, wanted: Filters) -> dict[str, Any]:
        fhir = desk.fhir(request)
        me, _ = await desk.me(request, fhir)
        listed = await fetch(fhir, desk.directory, me, wanted, desk.zone, desk.now())
        return {"moi": me, "liste": listed, "filtres": wanted, "onglets": TABS}

    async def page(request: Request) -> Response:
        shown = await context(request, filters(request.query_params))
        return render("dossiers.html", {**shown, "fait": request.query_params.get("fait", "")})

    async def search(request: Request) -> Response:
        wanted = filters(await _form(request))
        if not wanted.text:
            return RedirectResponse(f"/dossiers?{wanted.query()}", 303)
        return render("dossiers.html", await context(request, wanted))

    async def live(request: Request) -> Response:
        """The rows alone. By POST, because the filters may hold a name."""
        return fragment(request, "_liste.html", await context(request, filters(await _form(request))))

    return [
        Route("/dossiers", guarded(page), methods=["GET"]),
        Route("/dossiers", guarded(search), methods=["POST"]),
        Route("/dossiers/liste", guarded(live), methods=["POST"]),
    ]


async def _form(request: Request) -> Mapping[str, str]:
    async with request.form() as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}


async def fetch(
    fhir: Fhir, source: DirectorySource, me: Me, wanted: Filters, zone: tzinfo, now: datetime
) -> Worklist:
    """The rows of one page, by a fixed number of searches for one row or thirty."""
    page, first = await _requests(fhir, me, wanted)
    requests = {own_reference(resource): resource for resource in [*first, *page.matches]}
    if not requests:
        return Worklist()
    refs = ",".join(requests)
    subjects = {reference(resource.get("subject")) for resource in requests.values()}
    ids = ",".join(sorted(subject.split("/")[1] for subject in subjects if subject.startswith("Patient/")))
    tasks, studies, patients = await asyncio.gather(
        fhir.all("Task", [("focus", refs), ("_count", "200")]),
        fhir.all("ImagingStudy", [("basedon", refs), ("_count", "200")]),
        fhir.all("Patient", [("_id", ids or "-"), ("_count", "200")]),
    )
    people = {reference(resource.get("requester")) for resource in requests.values()}
    people |= {reference(item) for resource in requests.values() for item in many(resource, "performer")}
    people |= {read_mark(task)[0] for task in tasks}
    directory = await source.load(fhir, {ref for ref in people if ref})
    sources = Sources(tasks, studies, {own_reference(item): item for item in patients}, directory)
    return Worklist(ordered(row(item, sources, me, zone, now) for item in requests.values()), page.next)


async def _requests(fhir: Fhir, me: Me, wanted: Filters) -> tuple[Page, list[Json]]:
    """The regular page, and on the first page of a tab of open work the vital ones wherever they are in
    it.
    """
    by_post = bool(wanted.text)
    if wanted.cursor:
        return await fhir.follow("ServiceRequest", wanted.cursor), []
    communities = sorted({post.community_ref for post in me.posts if post.community_ref})
    mine = {post.ref for post in me.posts}
    sent_by = set(mine)
    if wanted.tab == "envoyes" and communities:
        roles = await fhir.all(
            "PractitionerRole", [("organization", ",".join(communities)), ("_count", "200")]
        )
        sent_by |= {own_reference(role) for role in by_type(roles, "PractitionerRole")}
    params = search_params(wanted, {*communities, *mine}, sent_by)
    regular = fhir.search(
        "ServiceRequest", [*params, ("_sort", "-_lastUpdated"), ("_count", str(COUNT))], by_post=by_post
    )
    if wanted.tab not in ("a-traiter", "recus") or wanted.priority:
        return await regular, []
    first = [*params, ("priority", "stat"), ("_count", "50")]
    page, vital = await asyncio.gather(regular, fhir.search("ServiceRequest", first, by_post=by_post))
    return page, vital.matches
