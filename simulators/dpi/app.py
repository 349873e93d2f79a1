"""The simulated DPI as a web application: a few hospital pages, and the EHR side of SMART for each
establishment.

/                              who signs in, and where
/{org}/patients, /{org}/patients/{id}     the list, and one record with the one button "TLE/TLI"
/{org}/fhir/…, /{org}/oauth/…             one issuer for each establishment
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, urlencode

import httpx
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from simulators.dpi import resources
from simulators.dpi.data import Establishment, Professional
from simulators.dpi.faults import FAULTS, Faults
from simulators.dpi.smart import CLIENT, App, Context, OAuthError, Smart

COOKIE = "dpi-simule"
FHIR_JSON = "application/fhir+json"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}
HUGE = "x" * 3_000_000


@dataclass
class Dpi:
    """One process: the records, the sessions of its professionals, the SMART server."""

    url: str
    establishments: Mapping[str, Establishment]
    smart: Smart
    faults: Faults
    preferred: str = ""
    sessions: dict[str, tuple[str, str]] = field(default_factory=dict)
    pages: Environment = field(
        default_factory=lambda: Environment(
            loader=PackageLoader("simulators.dpi"),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
    )

    # Pages

    async def home(self, request: Request) -> Response:
        """Choose establishment and professional: the hospital's own sign-in has happened elsewhere."""
        found = self._who(request)
        if found and "changer" not in request.query_params:
            return RedirectResponse(f"/{found[0].id}/patients", 303)
        wanted = request.query_params.get("etablissement", self.preferred)
        home = self.establishments.get(wanted) or next(iter(self.establishments.values()))
        return self._page("ouverture.html", establishments=self.establishments.values(), home=home, me=None)

    async def sign_in(self, request: Request) -> Response:
        form = await request.form()
        home = self.establishments.get(str(form.get("etablissement")))
        person = home.professionals.get(str(form.get("professionnel"))) if home else None
        if home is None or person is None:
            return RedirectResponse("/", 303)
        value = secrets.token_urlsafe(24)
        self.sessions[value] = (home.id, person.id)
        response = RedirectResponse(f"/{home.id}/patients", 303)
        response.set_cookie(COOKIE, value, httponly=True, samesite="lax")
        return response

    async def sign_out(self, request: Request) -> Response:
        self.sessions.pop(request.cookies.get(COOKIE, ""), None)
        response = RedirectResponse("/", 303)
        response.delete_cookie(COOKIE)
        return response

    async def patients(self, request: Request) -> Response:
        found = self._here(request)
        if found is None:
            return RedirectResponse("/", 303)
        home, person = found
        return self._page("patients.html", home=home, me=person, patients=list(home.patients.values()))

    async def patient(self, request: Request) -> Response:
        found = self._here(request)
        if found is None:
            return RedirectResponse("/", 303)
        home, person = found
        one = home.patients.get(request.path_params["id"])
        if one is None:
            return self._page("absent.html", 404, home=home, me=person)
        return self._page(
            "patient.html", home=home, me=person, patient=one, service=home.service_name(one.uf)
        )

    async def teleexpertise(self, request: Request) -> Response:
        """The button: opens the platform with iss and launch."""
        found = self._here(request)
        one = found[0].patients.get(request.path_params["id"]) if found else None
        if found is None or one is None:
            return RedirectResponse("/", 303)
        home, person = found
        launch = self.smart.launch(home.id, person, one, request.cookies[COOKIE])
        query = urlencode({"iss": self._issuer(home.id), "launch": launch})
        return RedirectResponse(f"{self.smart.app.launch_url}?{query}", 303, {"Cache-Control": "no-store"})

    async def style(self, request: Request) -> Response:
        text = (files("simulators.dpi") / "static" / "dpi.css").read_text("utf-8")
        return Response(text, media_type="text/css", headers={"Cache-Control": "max-age=300"})

    # SMART

    async def smart_configuration(self, request: Request) -> Response:
        org = self._org(request)
        base = f"{self.url}/{org}"
        said: Any = {
            "issuer": self._issuer(org),
            "jwks_uri": f"{base}/oauth/jwks",
            "authorization_endpoint": f"{base}/oauth/authorize",
            "token_endpoint": f"{base}/oauth/token",
            "grant_types_supported": ["authorization_code"],
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [
                "private_key_jwt",
                "client_secret_basic",
                "client_secret_post",
            ],
            "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
            "scopes_supported": ["launch", "openid", "fhirUser", "patient/*.rs", "user/Practitioner.rs"],
            "capabilities": [
                "launch-ehr",
                "client-confidential-symmetric",
                "client-confidential-asymmetric",
                "sso-openid-connect",
                "context-ehr-patient",
                "context-ehr-encounter",
                "context-banner",
                "permission-patient",
                "permission-user",
                "permission-v2",
            ],
        }
        if "jeton-ailleurs" in self.faults:
            said["token_endpoint"] = "http://169.254.169.254/latest/token"
        if "sans-s256" in self.faults:
            said["code_challenge_methods_supported"] = ["plain"]
        if "decouverte-redirection" in self.faults:
            return RedirectResponse("http://169.254.169.254/", 302)
        if "decouverte-liste" in self.faults:
            said = [said]
        return self._broken("decouverte") or JSONResponse(said)

    async def authorize(self, request: Request) -> Response:
        """GET and POST. An unknown client or redirect_uri is never redirected to. RFC 6749 §4.1.2.1"""
        form = dict(await request.form()) if request.method == "POST" else {}
        query = {name: str(value) for name, value in (form or request.query_params).items()}
        if query.get("client_id") != CLIENT or query.get("redirect_uri") != self.smart.app.redirect_uri:
            return JSONResponse({"error": "invalid_client"}, 400, HEADERS)
        issuer = self._issuer(self._org(request))
        answer = {"state": query.get("state", ""), "iss": issuer}
        found = self._here(request)
        try:
            if found is None or "autorisation-refusee" in self.faults:
                raise OAuthError("access_denied", "nobody is signed in here")
            answer["code"] = self.smart.authorize(query, issuer, request.cookies[COOKIE])
        except OAuthError as error:
            answer |= {"error": error.error, "error_description": error.description}
        if "autorisation-autre-iss" in self.faults:
            answer["iss"] = "https://autre-dpi.exemple.invalid/fhir"
        if "code-faux" in self.faults:
            answer["code"] = "faux"
        if "autorisation-sans-code" in self.faults:
            answer.pop("code", None)
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(answer)}", 302, HEADERS)

    async def token(self, request: Request) -> Response:
        broken = self._broken("jeton")
        if broken is not None:
            return broken
        org = self._org(request)
        form = {name: str(value) for name, value in (await request.form()).items()}
        try:
            basic = _basic(request.headers.get("authorization", ""))
            answer = await self.smart.token(form, self._issuer(org), f"{self.url}/{org}/oauth/token", basic)
        except OAuthError as error:
            body = {"error": error.error, "error_description": error.description}
            return JSONResponse(body, error.status, {"Cache-Control": "no-store"})
        return JSONResponse(answer, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})

    async def jwks(self, request: Request) -> Response:
        return JSONResponse({}, 500) if "cles-500" in self.faults else JSONResponse(self.smart.jwks())

    # FHIR reads

    async def read(self, request: Request) -> Response:
        """Only what the token is for: its patient, that venue, and who launched."""
        org = self._org(request)
        context = self.smart.holder(request.headers.get("authorization", ""))
        if context is None or context.establishment != org:
            return _outcome(401, "login", "no token in force")
        kind, id = request.path_params["type"], request.path_params["id"]
        home, off = self.establishments[org], self.faults
        if kind == "Patient" and id == context.patient.id and "patient-404" not in off:
            if "patient-html" in off:
                return HTMLResponse("<html>")
            return JSONResponse(self._patient(home, context), media_type=FHIR_JSON)
        if kind == "Encounter" and id == context.patient.venue_id:
            return JSONResponse(resources.encounter(home, context.patient), media_type=FHIR_JSON)
        if kind == "Practitioner" and id == context.professional.id and "praticien-404" not in off:
            return JSONResponse(self._practitioner(home, context), media_type=FHIR_JSON)
        return _outcome(404, "not-found", "not there, or not in this token's context")

    def _patient(self, home: Establishment, context: Context) -> dict[str, Any]:
        made = resources.patient(home, context.patient)
        changes: dict[str, dict[str, Any]] = {
            "patient-autre": {"id": "autre"},
            "patient-sans-nom": {"name": []},
            "patient-sans-identifiant": {"identifier": []},
            "patient-tordu": {"identifier": "x", "name": {"family": 3}, "extension": 7, "birthDate": []},
        }
        for fault, change in changes.items():
            if fault in self.faults:
                made |= change
        return made

    def _practitioner(self, home: Establishment, context: Context) -> dict[str, Any]:
        made = resources.practitioner(home, context.professional)
        if "praticien-anonyme" in self.faults:
            made["identifier"] = []
        if "praticien-inconnu" in self.faults:
            made["identifier"] = [{"system": "https://rpps.esante.gouv.fr", "value": "89999999999"}]
        return made

    # Failures on demand

    async def show_faults(self, request: Request) -> Response:
        return JSONResponse({"pannes": self.faults.names(), "possibles": dict(FAULTS)})

    async def set_faults(self, request: Request) -> Response:
        try:
            asked = (await request.json())["pannes"]
        except (ValueError, KeyError, TypeError):
            asked = None
        if not self.faults.set(asked):
            return JSONResponse({"error": "unknown fault", "possibles": sorted(FAULTS)}, 400)
        return JSONResponse({"pannes": self.faults.names()})

    def _broken(self, what: str) -> Response | None:
        if f"{what}-500" in self.faults:
            return JSONResponse({"error": "server_error"}, 500)
        if f"{what}-html" in self.faults:
            return HTMLResponse("<html>en maintenance</html>")
        return JSONResponse({"x": HUGE}) if f"{what}-enorme" in self.faults else None

    # Small parts

    def _who(self, request: Request) -> tuple[Establishment, Professional] | None:
        org, person = self.sessions.get(request.cookies.get(COOKIE, ""), ("", ""))
        home = self.establishments.get(org)
        return (home, home.professionals[person]) if home else None

    def _here(self, request: Request) -> tuple[Establishment, Professional] | None:
        """Who is signed in, at the establishment of this address."""
        found = self._who(request)
        return found if found and found[0].id == request.path_params["org"] else None

    def _org(self, request: Request) -> str:
        return str(request.path_params["org"])

    def _issuer(self, org: str) -> str:
        return f"{self.url}/{org}/fhir"

    def _page(self, name: str, status: int = 200, **context: Any) -> Response:
        return HTMLResponse(self.pages.get_template(name).render(date=french, **context), status, HEADERS)


def french(date: str) -> str:
    """31/12/1953 of 1953-12-31."""
    return "/".join(reversed(date[:10].split("-")))


def build(url: str, establishments: Mapping[str, Establishment], app: App, preferred: str = "") -> Starlette:
    """The application; `app.state.dpi` is the Dpi."""
    faults, http = Faults(), httpx.AsyncClient(timeout=5, trust_env=False)
    dpi = Dpi(url.rstrip("/"), establishments, Smart(app, faults, http), faults, preferred)

    def known(handler: Any) -> Any:
        async def answer(request: Request) -> Response:
            if request.path_params["org"] not in establishments:
                return Response(status_code=404)
            response: Response = await handler(request)
            return response

        return answer

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with http:
            yield

    made = Starlette(
        lifespan=lifespan,
        routes=[
            Route("/", dpi.home, methods=["GET"]),
            Route("/", dpi.sign_in, methods=["POST"]),
            Route("/quitter", dpi.sign_out, methods=["POST"]),
            Route("/dpi.css", dpi.style),
            Route("/panne", dpi.show_faults, methods=["GET"]),
            Route("/panne", dpi.set_faults, methods=["POST"]),
            Route("/{org}/patients", known(dpi.patients), methods=["GET"]),
            Route("/{org}/patients/{id}", known(dpi.patient), methods=["GET"]),
            Route("/{org}/patients/{id}/tle", known(dpi.teleexpertise), methods=["POST"]),
            Route("/{org}/fhir/.well-known/smart-configuration", known(dpi.smart_configuration)),
            Route("/{org}/oauth/authorize", known(dpi.authorize), methods=["GET", "POST"]),
            Route("/{org}/oauth/token", known(dpi.token), methods=["POST"]),
            Route("/{org}/oauth/jwks", known(dpi.jwks)),
            Route("/{org}/fhir/{type}/{id}", known(dpi.read), methods=["GET"]),
        ],
    )
    made.state.dpi = dpi
    return made


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(encoded).decode().partition(":")
    except (ValueError, binascii.Error) as error:
        raise OAuthError("invalid_client", "the Authorization header cannot be read", 401) from error
    return unquote(name), unquote(secret)


def _outcome(status: int, code: str, text: str) -> Response:
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return JSONResponse({"resourceType": "OperationOutcome", "issue": [issue]}, status, media_type=FHIR_JSON)
