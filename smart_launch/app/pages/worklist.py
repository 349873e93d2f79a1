"""The list of télédossiers: page, live fragment, and the filter form.

The first page joins two searches: the open vital requests (few), and the regular page by cursor; later
pages are the cursor's alone. What waits for the reader is one list without pages, the 300
newest of each side. A patient's name is searched by POST, so that it stands in no address, history or log.
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
from smart_launch.app.views.reading import Json, by_type, extension, many, own_reference, reference
from smart_launch.app.views.worklist import (
    COUNT,
    TABS,
    WAITING_MOST,
    Filters,
    Sources,
    Worklist,
    filters,
    ordered,
    read_mark,
    recipient_tasks,
    row,
    search_params,
    waits,
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
    sent_by = await _senders(fhir, me) if wanted.tab in ("envoyes", "a-traiter") else set()
    page, first = await _requests(fhir, me, wanted, sent_by)
    requests = {own_reference(resource): resource for resource in [*first, *page.matches]}
    if not requests:
        return Worklist()
    tasks = await _hanging(fhir, "Task", "focus", requests)
    if wanted.tab == "a-traiter":
        requests = await _waiting(fhir, me, requests, tasks, sent_by)
    subjects = {reference(resource.get("subject")) for resource in requests.values()}
    ids = ",".join(sorted(subject.split("/")[1] for subject in subjects if subject.startswith("Patient/")))
    people = {reference(resource.get("requester")) for resource in requests.values()}
    people |= {reference(item) for resource in requests.values() for item in many(resource, "performer")}
    people |= {read_mark(task)[0] for task in tasks}
    studies, patients, directory = await asyncio.gather(
        _hanging(fhir, "ImagingStudy", "basedon", requests),
        fhir.all("Patient", [("_id", ids or "-"), ("_count", "200")]),
        source.load(fhir, {ref for ref in people if ref}),
    )
    sources = Sources(tasks, studies, {own_reference(item): item for item in patients}, directory)
    return Worklist(ordered(row(item, sources, me, zone, now) for item in requests.values()), page.next)


async def _hanging(fhir: Fhir, type: str, link: str, requests: Mapping[str, Json]) -> list[Json]:
    """What points to these requests, a hundred of them per search: addresses have a length."""
    refs = list(requests)
    parts = [",".join(refs[start : start + 100]) for start in range(0, len(refs), 100)]
    found = await asyncio.gather(*(fhir.all(type, [(link, part), ("_count", "200")]) for part in parts))
    return [item for part in found for item in part]


async def _senders(fhir: Fhir, me: Me) -> set[str]:
    """The posts that write for my communities, and my own."""
    communities = sorted({post.community_ref for post in me.posts if post.community_ref})
    mine = {post.ref for post in me.posts}
    if not communities:
        return mine
    roles = await fhir.all("PractitionerRole", [("organization", ",".join(communities)), ("_count", "200")])
    return mine | {own_reference(role) for role in by_type(roles, "PractitionerRole")}


async def _waiting(
    fhir: Fhir, me: Me, requests: Mapping[str, Json], tasks: list[Json], sent_by: set[str]
) -> dict[str, Json]:
    """Those of the requests that wait for the reader."""
    said = await _hanging(fhir, "Communication", "based-on", requests)
    kept: dict[str, Json] = {}
    for ref, request in requests.items():
        about = [item for item in said if ref in [reference(each) for each in many(item, "basedOn")]]
        author = reference(extension(request, "author"))
        sender = reference(request.get("requester")) in sent_by or me.is_author(author)
        if waits(recipient_tasks(tasks, ref), about, me, sender=sender):
            kept[ref] = request
    return kept


async def _requests(fhir: Fhir, me: Me, wanted: Filters, sent_by: set[str]) -> tuple[Page, list[Json]]:
    """What waits, all of it (both sides); else the regular page, and before the first page of what was
    received the vital ones wherever they are.
    """
    by_post = bool(wanted.text)
    if wanted.cursor:
        return await fhir.follow("ServiceRequest", wanted.cursor), []
    mine = {ref for post in me.posts for ref in (post.ref, post.community_ref) if ref}

    async def search(side: str, count: int, *more: tuple[str, str]) -> Page:
        params = [*search_params(wanted, mine, sent_by, side), *more, ("_count", str(count))]
        return await fhir.search("ServiceRequest", params, by_post=by_post)

    newest = ("_sort", "-_lastUpdated")
    if wanted.tab == "a-traiter":
        received, sent = await asyncio.gather(
            search("recipient", WAITING_MOST, newest), search("sender", WAITING_MOST, newest)
        )
        return Page(), received.matches + sent.matches
    if wanted.tab != "recus" or wanted.priority:
        return await search("", COUNT, newest), []
    page, vital = await asyncio.gather(search("", COUNT, newest), search("", 50, ("priority", "stat")))
    return page, vital.matches
