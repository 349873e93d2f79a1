"""Sign-in of people: accounts, sessions, the page /connexion and what it posts to.

`routes` takes a render function (template name, context, status) → Response, so that the portal's
templates dress it. Context of `connexion.html`: suite, identifiant, erreur (French text or ""), attente
(seconds or 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from profiles.outcomes import TeledossierError
from smart_launch import forms
from smart_launch.signin.local import Refusal, SignIn
from smart_launch.signin.session import Session, Sessions

Render = Callable[[str, Mapping[str, Any], int], Response]

WRONG = "Identifiant ou mot de passe incorrect."
WAIT = "Trop d'essais. Réessayez dans {wait} secondes."
UNREADABLE = "Le formulaire n'a pas pu être lu. Saisissez à nouveau votre identifiant."


def safe_next(suite: str) -> str:
    """The address to go on to after sign-in: a path of this site, else the home page. Browsers read a
    backslash as a slash and drop control characters, so neither may occur. RFC 3986 §4.2"""
    if not suite.startswith("/") or suite.startswith("//") or len(suite) > 2000:
        return "/"
    if "\\" in suite or any(ord(letter) < 0x21 or ord(letter) == 0x7F for letter in suite):
        return "/"
    try:
        parts = urlsplit(suite)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc or parts.path == "/connexion" else suite


@dataclass(frozen=True, slots=True)
class SignInPages:
    """The handlers of sign-in and sign-out."""

    signin: SignIn
    sessions: Sessions
    render: Render

    async def page(self, request: Request) -> Response:
        """GET /connexion?suite=… (R033–R038); who is signed in already goes on."""
        suite = safe_next(request.query_params.get("suite", "/"))
        if await self.sessions.find(request.cookies.get(self.sessions.cookie, "")):
            return RedirectResponse(suite, 303)
        return self._again(suite)

    async def post(self, request: Request) -> Response:
        """POST /connexion: identifiant, mot_de_passe, suite."""
        try:
            form = await forms.read(request, 16_384)
        except TeledossierError as error:
            return self._again("/", error=UNREADABLE, status=error.status)
        suite, name = safe_next(form.get("suite", "/")), form.get("identifiant", "")
        address = request.client.host if request.client else ""
        found = await self.signin.verify(name, form.get("mot_de_passe", ""), address)
        if isinstance(found, Refusal):
            text = WAIT.format(wait=found.wait) if found.wait else WRONG
            page = self._again(
                suite, name=name[:64], error=text, wait=found.wait, status=429 if found.wait else 401
            )
            if found.wait:
                page.headers["Retry-After"] = str(found.wait)
            return page
        # A session that this browser had before ends: one browser, one person.
        await self.sessions.end(request.cookies.get(self.sessions.cookie, ""))
        response = RedirectResponse(suite, 303)
        self.sessions.give(response, await self.sessions.open(found.username, found.practitioner))
        return response

    async def leave(self, request: Request) -> Response:
        """POST /deconnexion"""
        await self.sessions.end(request.cookies.get(self.sessions.cookie, ""))
        response = RedirectResponse("/connexion", 303)
        self.sessions.drop(response)
        return response

    async def whoami(self, request: Request) -> Response:
        """GET /session: {account, practitioner: "Practitioner/p08", via, until} of the signed-in person; 404
        for a machine. The roles are read from /fhir/PractitionerRole?practitioner=…"""
        session: Session | None = request.scope.get("session")
        headers = {"Cache-Control": "no-store"}
        if session is None:
            return JSONResponse({"practitioner": None}, 404, headers)
        told = {
            "account": session.account,
            "practitioner": session.subject,
            "via": session.via,
            "until": session.until,
        }
        return JSONResponse(told, headers=headers)

    def _again(
        self,
        suite: str,
        *,
        name: str = "",
        error: str = "",
        wait: int = 0,
        status: int = 200,
    ) -> Response:
        context = {"suite": suite, "identifiant": name, "erreur": error, "attente": wait}
        page = self.render("connexion.html", context, status)
        page.headers["Cache-Control"] = "no-store"
        return page


def routes(signin: SignIn, sessions: Sessions, render: Render) -> list[BaseRoute]:
    """Sign-in, sign-out and who-am-I."""
    pages = SignInPages(signin, sessions, render)
    return [
        Route("/connexion", pages.page, methods=["GET"]),
        Route("/connexion", pages.post, methods=["POST"]),
        Route("/deconnexion", pages.leave, methods=["POST"]),
        Route("/session", pages.whoami, methods=["GET"]),
    ]
