"""The launch from the hospital's own record (DPI): this platform as a SMART *app*.

    GET  /launch?iss&launch    registered DPI only → discovery → 302 to its authorize endpoint
    GET  /launch/callback      code → token → id_token proven → the person's account → session, without a
    password
                               → patient and venue read → draft opened → 303 to its form
    POST /launch/choix         the workflow, where the DPI did not say which

SMART App Launch 2.2 app-launch.html; DOMAIN R026–R028, R040–R041
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from profiles.outcomes import TeledossierError
from smart_launch import forms
from smart_launch.app import words
from smart_launch.app.dpi import exchange, issuers, opening, record
from smart_launch.app.dpi.exchange import Begun, Granted
from smart_launch.app.dpi.issuers import Issuer
from smart_launch.app.dpi.opening import Wanted
from smart_launch.app.dpi.ports import Json, Person, Platform
from smart_launch.app.dpi.refusals import TABLE, Stopped
from smart_launch.app.fhir import Fhir
from smart_launch.clock import SECOND

__all__ = ["Issuer", "Platform", "routes"]

LAUNCH, CHOICE = "dpi-launch", "dpi-choice"
LIFE = 600 * SECOND
WORKFLOWS = ("avis-avc-aigu", "avis-urgences", "avis-generique", "transfert-imagerie", "rcp-greffe-renale")
_log = logging.getLogger("teledossier.launch")

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Launches:
    """The handlers, over one Platform."""

    platform: Platform

    async def begin(self, request: Request) -> Response:
        """GET /launch"""
        iss, launch = request.query_params.get("iss", ""), request.query_params.get("launch", "")
        issuer = await issuers.get(self.platform.records, iss)
        if issuer is None:
            raise Stopped("dpi-inconnu", "iss is not registered")
        if not 0 < len(launch) <= 2000:
            raise Stopped("lancement-incomplet", "launch is missing or too long")
        ends = await exchange.discover(self.platform, issuer)
        begun = exchange.begin(iss)
        state, binding = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        value = {**asdict(begun), "bound": _digest(binding)}
        await self.platform.records.put_record(
            LAUNCH, _digest(state), value, expires=self.platform.clock() + LIFE
        )
        target = exchange.authorize_address(self.platform, issuer, ends, begun, state, launch)
        response = RedirectResponse(
            target, 302, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        )
        self._bind(response, state, binding)
        return response

    async def finish(self, request: Request) -> Response:
        """GET /launch/callback"""
        asked = request.query_params
        state = asked.get("state", "")
        begun = await self._begun(state, request.cookies.get(_cookie(state), ""))
        issuer = await issuers.get(self.platform.records, begun.iss)
        if issuer is None:
            raise Stopped("dpi-inconnu", "the DPI was removed meanwhile")
        if "error" in asked:
            raise Stopped("dpi-refus", f"authorize answered {asked['error'][:40]!r}")
        if not 0 < len(asked.get("code", "")) <= 4000:
            raise Stopped("lancement-incomplet", "the callback holds no code")
        ends = await exchange.discover(self.platform, issuer)
        if asked.get("iss", ends.issuer) not in (ends.issuer, issuer.iss):
            raise Stopped("identite-non-prouvee", "the callback names another issuer")
        granted = await exchange.redeem(self.platform, issuer, ends, begun, asked["code"])
        person = await self._person(issuer, granted)
        value, session = await self.platform.doors.open(person, issuer.iss, request)
        try:
            response = await self._to_the_form(request, issuer, granted, person, value, session)
        except Stopped as stopped:
            # Who it is was proven: the person stays signed in, and can go on from the list.
            response = self.refused(stopped)
        self.platform.doors.give(response, value)
        response.delete_cookie(_cookie(state), path="/launch")
        return response

    async def choose(self, request: Request) -> Response:
        """POST /launch/choix: cle, workflow."""
        try:
            form = await forms.read(request, 4096)
        except TeledossierError as error:
            raise Stopped("choix-expire", str(error)) from error
        kept = await self.platform.records.take_record(CHOICE, _digest(form.get("cle", "")))
        if kept is None or form.get("workflow") not in WORKFLOWS:
            raise Stopped("choix-expire", "no such choice is open")
        if kept["session"] != await self.platform.doors.current(request):
            raise Stopped("lancement-etranger", "the choice belongs to another session")
        wanted = Wanted(kept["patient"], kept["encounter"], form["workflow"], kept["title"])
        fhir = self._fhir(request, self.platform.doors.value(request))
        return _form(await opening.open_draft(self.platform, fhir, kept["role"], wanted))

    async def _begun(self, state: str, binding: str) -> Begun:
        """The launch that this callback answers, used up by looking. Raises Stopped."""
        kept = await self.platform.records.take_record(LAUNCH, _digest(state))
        if kept is None:
            raise Stopped("lancement-expire", "state is unknown, used or over")
        if not secrets.compare_digest(kept.pop("bound"), _digest(binding)):
            raise Stopped("lancement-etranger", "state belongs to another browser")
        return Begun(**kept)

    async def _person(self, issuer: Issuer, granted: Granted) -> Person:
        """The account of who is signed in at the DPI; none is ever made here. Raises Stopped."""
        id = record.local_reference(issuer, granted.user, "Practitioner")
        if not id:
            raise Stopped("praticien-illisible", "fhirUser is not a Practitioner of this DPI")
        found = await record.read(
            self.platform, issuer, granted.token, "Practitioner", id, "praticien-illisible"
        )
        identifiers = record.professional_identifiers(found, issuer)
        if not identifiers:
            raise Stopped("praticien-illisible", "the Practitioner has neither RPPS nor local number")
        person = await self.platform.people.find(identifiers)
        if person is None:
            raise Stopped("praticien-inconnu", "no account has this identifier")
        if person.disabled:
            raise Stopped("compte-desactive", "the account is disabled")
        return person

    async def _to_the_form(
        self, request: Request, issuer: Issuer, granted: Granted, person: Person, value: str, session: str
    ) -> Response:
        wanted = await self._wanted(issuer, granted)
        fhir = self._fhir(request, value)
        role = await opening.author_role(fhir, issuer, person.practitioner)
        if wanted.workflow:
            return _form(await opening.open_draft(self.platform, fhir, role, wanted))
        earlier = await opening.find_draft(fhir, role, wanted)
        return _form(earlier) if earlier else await self._choice(wanted, role, session)

    async def _wanted(self, issuer: Issuer, granted: Granted) -> Wanted:
        """What the DPI's context asks to open. Raises Stopped."""
        if granted.patient is None:
            raise Stopped("patient-absent", "the token response names no patient")
        code = "patient-illisible"
        found = await record.read(self.platform, issuer, granted.token, "Patient", granted.patient, code)
        patient, encounter, title = record.patient(found, issuer), None, ""
        if granted.encounter:
            venue = await record.read(
                self.platform, issuer, granted.token, "Encounter", granted.encounter, code
            )
            encounter = record.encounter(venue, issuer)
        orders = [record.local_reference(issuer, one, "ServiceRequest") for one in granted.context]
        order = next((id for id in orders if id), "")
        if order:
            asked = await record.read(self.platform, issuer, granted.token, "ServiceRequest", order, code)
            title = record.order_title(asked)
        workflow = granted.intent if granted.intent in WORKFLOWS else ""
        return Wanted(patient, encounter, workflow, title)

    async def _choice(self, wanted: Wanted, role: str, session: str) -> Response:
        """The page that asks for the workflow."""
        key = secrets.token_urlsafe(32)
        kept = {
            "session": session,
            "role": role,
            "patient": wanted.patient,
            "encounter": wanted.encounter,
            "title": wanted.title,
        }
        await self.platform.records.put_record(
            CHOICE, _digest(key), kept, expires=self.platform.clock() + LIFE
        )
        context = {
            "workflows": [{"code": code, "label": words.WORKFLOWS[code]} for code in WORKFLOWS],
            "action": "/launch/choix",
            "champs": {"cle": key},
            "patient": _banner(wanted.patient),
        }
        return self.platform.render("choix_workflow.html", context, 200)

    def refused(self, stopped: Stopped) -> Response:
        """The French page of a refusal."""
        _log.warning("launch stopped: %s", stopped)
        said = TABLE[stopped.code]
        context = {
            "status": said.status,
            "titre": said.title,
            "message": f"{said.message} {said.advice}",
            "detail": f"Référence : {stopped.code}",
            "retour": "/dossiers",
        }
        return self.platform.render("erreur.html", context, said.status)

    def _fhir(self, request: Request, value: str) -> Fhir:
        return Fhir(self.platform.app_ref(), self.platform.url, self.platform.doors.headers(value))

    def _bind(self, response: Response, state: str, binding: str) -> None:
        """A cookie for each launch, so that two tabs do not disturb each other."""
        response.set_cookie(
            _cookie(state),
            binding,
            max_age=LIFE // SECOND,
            path="/launch",
            httponly=True,
            samesite="lax",
            secure=self.platform.url.startswith("https://"),
        )


def routes(platform: Platform) -> list[BaseRoute]:
    """The three addresses of a launch."""
    here = Launches(platform)

    def told(handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except Stopped as stopped:
                return here.refused(stopped)

        return answer

    return [
        Route("/launch", told(here.begin), methods=["GET"]),
        Route(exchange.CALLBACK, told(here.finish), methods=["GET"]),
        Route("/launch/choix", told(here.choose), methods=["POST"]),
    ]


def _form(id: str) -> Response:
    return RedirectResponse(f"/dossiers/{id}/formulaire", 303, {"Cache-Control": "no-store"})


def _banner(patient: Json) -> dict[str, str]:
    """What the choice shows of the patient: "LABORDE Henri", "17/05/1953"."""
    name = patient["name"][0]
    birth = "/".join(reversed(patient.get("birthDate", "").split("-")))
    born = words.BORN.get(patient.get("gender", ""), words.BORN_UNKNOWN)
    return {"name": " ".join([name["family"], *name.get("given", [])]), "birth": birth, "born": born}


def _cookie(state: str) -> str:
    return "launch-" + _digest(state)[:16]


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
