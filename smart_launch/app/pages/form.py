"""New télédossier without DPI, and the draft's form: show, save by itself, send, discard (R043, R063,
R070–R077).

Whatever happens, what was typed comes back: a refused page is rendered again from the form itself, never
from the server. A draft changed elsewhere is noticed by the fingerprint of its content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from smart_launch.app import words
from smart_launch.app.desk import Desk
from smart_launch.app.fhir import Fhir, FhirError
from smart_launch.app.pages.answers import guarded, reason
from smart_launch.app.pages.orders import proposed, worklists
from smart_launch.app.pages.under_way import under_way
from smart_launch.app.rendering import render
from smart_launch.app.views import times
from smart_launch.app.views.dossier import Setting, dossier, references, request_of
from smart_launch.app.views.draft import (
    Draft,
    Identity,
    checked,
    content_mark,
    expected,
    groups,
    identity,
    patient_resource,
    requesters,
    save_parameters,
    saved,
    typed,
    with_orders,
)
from smart_launch.app.views.orders import Orders
from smart_launch.app.views.people import Directory, Me
from smart_launch.app.views.reading import WORKFLOW, Json, by_type, code, own_reference, reference, version
from smart_launch.app.views.story import consent_codes


@dataclass(frozen=True, slots=True)
class Opened:
    """A télédossier fetched for its form."""

    request: Json
    resources: list[Json]
    questionnaire: Json
    plan: Json
    me: Me


def routes(desk: Desk) -> list[BaseRoute]:
    async def new(request: Request) -> Response:
        me, _ = await desk.me(request, desk.fhir(request))
        return render("nouveau.html", {"moi": me, "identite": Identity(), "workflow": "", "posts": me.posts})

    async def start(request: Request) -> Response:
        return await _start(desk, request)

    async def show(request: Request) -> Response:
        fhir, id = desk.fhir(request), request.path_params["id"]
        opened = await _open(desk, request, fhir, id)
        if opened.request.get("status") != "draft":
            return RedirectResponse(f"/dossiers/{id}", 303)
        return await _page(desk, request, fhir, opened, _saved(desk, opened))

    async def save(request: Request) -> Response:
        """The autosave: JSON for the page's own script. 409 when the draft changed elsewhere."""
        fhir, id = desk.fhir(request), request.path_params["id"]
        async with request.form() as form:
            opened = await _open(desk, request, fhir, id)
            if _stale(desk, opened, form):
                return JSONResponse({"message": words.STALE}, 409)
            draft = _typed(desk, form, opened)
        try:
            await _save(desk, fhir, opened, draft)
            opened = await _open(desk, request, fhir, id)
        except FhirError as error:
            return JSONResponse({"message": reason(error)}, error.status)
        missing = [{"champ": name, "pourquoi": why} for name, _, why in checked(draft).faults]
        mark = content_mark(_saved(desk, opened))
        return JSONResponse({"version": mark, "heure": times.time_of(desk.now()), "manque": missing})

    async def submit(request: Request) -> Response:
        return await _submit(desk, request)

    return [
        Route("/dossiers/nouveau", guarded(new), methods=["GET"]),
        Route("/dossiers/nouveau", guarded(start), methods=["POST"]),
        Route("/dossiers/{id}/formulaire", guarded(show), methods=["GET"]),
        Route("/dossiers/{id}/formulaire", guarded(submit), methods=["POST"]),
        Route("/dossiers/{id}/formulaire/enregistrement", guarded(save), methods=["POST"]),
    ]


async def _start(desk: Desk, request: Request) -> Response:
    """`$start` from a typed identity."""
    fhir = desk.fhir(request)
    me, directory = await desk.me(request, fhir)
    async with request.form() as form:
        given = {name: value for name, value in form.items() if isinstance(value, str)}
    read, workflow = identity(given, desk.now().date()), given.get("workflow", "")
    post = next((post for post in me.posts if post.ref == given.get("auteur")), next(iter(me.posts), None))
    context = {"moi": me, "identite": read, "workflow": workflow, "posts": me.posts, "message": ""}
    if workflow not in words.WORKFLOWS:
        context["message"] = words.NO_WORKFLOW
    if read.faults or context["message"] or post is None:
        return render("nouveau.html", context, 422)
    place = directory.place(post.community_ref or post.ref)
    parameters: list[Json] = [
        {"name": "workflow", "valueCode": workflow},
        {"name": "patient", "resource": patient_resource(read, place.establishment_ref)},
        {"name": "author", "valueReference": {"reference": post.ref}},
    ]
    try:
        opened = await fhir.operation("ServiceRequest/$start", parameters)
    except FhirError as error:
        if error.status not in (400, 403, 409, 422):
            raise
        return render("nouveau.html", {**context, "message": reason(error)}, error.status)
    return RedirectResponse(f"/dossiers/{opened.get('id', '')}/formulaire", 303)


async def _open(desk: Desk, request: Request, fhir: Fhir, id: str) -> Opened:
    (me, _), resources = await asyncio.gather(desk.me(request, fhir), fhir.everything(id))
    found = request_of(resources, id)
    if not found:
        raise FhirError(404, {})
    workflow = code(found.get("category"), WORKFLOW)
    questionnaire, plan = await asyncio.gather(
        desk.definitions.get(fhir, "Questionnaire", workflow),
        desk.definitions.get(fhir, "PlanDefinition", workflow),
    )
    return Opened(found, resources, questionnaire, plan, me)


def _saved(desk: Desk, opened: Opened) -> Draft:
    """The draft as the server holds it."""
    response = next(iter(by_type(opened.resources, "QuestionnaireResponse")), {})
    consent = consent_codes(by_type(opened.resources, "Consent"))
    return saved(opened.request, response, consent, opened.questionnaire, desk.zone)


def _stale(desk: Desk, opened: Opened, form: FormData | Mapping[str, Any]) -> bool:
    """Whether the server's content is no longer the one that the page last knew."""
    given = form.get("version")
    return isinstance(given, str) and bool(given) and given != content_mark(_saved(desk, opened))


def _typed(desk: Desk, form: FormData, opened: Opened) -> Draft:
    given = {name: value for name, value in form.items() if isinstance(value, str)}
    chosen = [value for value in form.getlist("correspondant") if isinstance(value, str)]
    ticked = [value for value in form.getlist("ordre") if isinstance(value, str)]
    given["examens_attendus"] = with_orders(given.get("examens_attendus", ""), ticked)
    return typed(given, chosen, opened.questionnaire, desk.zone)


async def _save(desk: Desk, fhir: Fhir, opened: Opened, draft: Draft) -> None:
    """`$save`. `If-Match` makes the race with another window the server's to decide."""
    offered = await _requesters(desk, fhir, opened.me)
    parameters = save_parameters(draft, opened.questionnaire, desk.zone, [post.ref for post in offered])
    headers = {"if-match": f'W/"{version(opened.request)}"'}
    id = opened.request["id"]
    await fhir.operation(f"ServiceRequest/{id}/$save", parameters, headers=headers)


async def _requesters(desk: Desk, fhir: Fhir, me: Me) -> list[Any]:
    """The posts of the doctors this person writes for (R050)."""
    doctors = requesters(me.posts)
    if not doctors:
        return []
    roles = await fhir.all("PractitionerRole", [("practitioner", ",".join(doctors)), ("_count", "50")])
    directory = await desk.directory.load(fhir, [], roles)
    posts = [directory.post(own_reference(role)) for role in by_type(roles, "PractitionerRole")]
    return [post for post in posts if post.community_ref] or posts


async def _submit(desk: Desk, request: Request) -> Response:
    """Envoyer, Enregistrer, Annuler or the worklist's exams, as the button pressed says."""
    fhir, id = desk.fhir(request), request.path_params["id"]
    async with request.form() as form:
        action = form.get("action", "enregistrer")
        if action == "annuler":
            await fhir.operation(f"ServiceRequest/{id}/$discard", [])
            return RedirectResponse("/dossiers?fait=discard", 303)
        opened = await _open(desk, request, fhir, id)
        if opened.request.get("status") != "draft":
            return RedirectResponse(f"/dossiers/{id}", 303)
        draft, stale = _typed(desk, form, opened), _stale(desk, opened, form)
    if stale:
        return await _page(desk, request, fhir, opened, draft, status=409, message=words.STALE)
    try:
        await _save(desk, fhir, opened, draft)
        if action == "ordres":
            opened = await _open(desk, request, fhir, id)
            found = await proposed(fhir, id, expected(draft.announced))
            return await _page(desk, request, fhir, opened, draft, orders=found)
        if action != "envoyer":
            return RedirectResponse("/dossiers?fait=save", 303)
        judged = checked(draft)
        if judged.faults:
            opened = await _open(desk, request, fhir, id)
            return await _page(desk, request, fhir, opened, judged, status=422)
        await fhir.operation(f"ServiceRequest/{id}/$step", [{"name": "step", "valueCode": "send"}])
    except FhirError as error:
        if error.status not in (400, 403, 409, 412, 422):
            raise
        opened = await _open(desk, request, fhir, id)
        judged = checked(draft)
        return await _page(desk, request, fhir, opened, judged, status=error.status, message=reason(error))
    return RedirectResponse(f"/dossiers/{id}?fait=send", 303)


async def _page(
    desk: Desk,
    request: Request,
    fhir: Fhir,
    opened: Opened,
    draft: Draft,
    *,
    status: int = 200,
    message: str = "",
    orders: Orders | None = None,
) -> Response:
    """The form, from any draft; with the exams of the worklists where they were asked for."""
    workflow = code(opened.request.get("category"), WORKFLOW)
    services = await fhir.all(
        "HealthcareService", [("service-type", f"{WORKFLOW}|{workflow}"), ("_count", "100")]
    )
    wanted = references(opened.resources) | {reference(item.get("providedBy")) for item in services}
    offered, directory, lists = await asyncio.gather(
        _requesters(desk, fhir, opened.me),
        desk.directory.load(fhir, wanted | set(draft.recipients)),
        worklists(fhir),
    )
    setting = Setting(opened.me, directory, desk.zone, desk.now(), opened.plan, opened.questionnaire)
    shown = dossier(opened.request, opened.resources, setting)
    context = {
        "moi": opened.me,
        "dossier": shown,
        "brouillon": draft,
        "version": content_mark(_saved(desk, opened)),
        "groupes": groups(services, directory, draft.recipients),
        "choisis": [directory.place(ref).name for ref in sorted(draft.recipients)],
        "requerants": _choices(offered, directory, draft.requester),
        "message": message,
        "listes": lists,
        "prevus": orders,
        "fait": request.query_params.get("fait", ""),
        **await under_way(desk, fhir, str(opened.request["id"]), [exam.uid for exam in shown.exams]),
    }
    return render("formulaire.html", context, status)


def _choices(offered: list[Any], directory: Directory, current: str) -> list[Any]:
    """The doctors to choose among, the present requester included."""
    posts = {post.ref: post for post in offered}
    if offered and current and current not in posts:
        posts[current] = directory.post(current)
    return list(posts.values())
