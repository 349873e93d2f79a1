"""The EHR side of SMART App Launch 2.2, for one registered app: launches, codes, tokens, the id_token.

Everything lives in memory and dies with the process. A launch is bound to the professional's own session and
serves once; a code serves once, within a minute, and its second use revokes the token it gave.
RFC 6749 §4.1; RFC 7636; RFC 7523; OpenID Connect Core §3.1.3
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from simulators.dpi.data import Patient, Professional
from simulators.dpi.faults import Faults

Json = dict[str, Any]
LAUNCH_LIFE, CODE_LIFE, TOKEN_LIFE = 300, 60, 300
"""Seconds."""
CLIENT = "teledossier"


@dataclass(frozen=True, slots=True)
class App:
    """The one registered app: our platform. Without a secret it proves itself by the keys it publishes."""

    redirect_uri: str
    jwks_uri: str
    launch_url: str
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """Who launches for whom."""

    establishment: str
    professional: Professional
    patient: Patient
    session: str
    until: float


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code's memory."""

    context: Context
    scope: str
    nonce: str | None
    challenge: str
    until: float


class OAuthError(Exception):
    """RFC 6749 §5.2"""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.description, self.status = error, description, status


@dataclass
class Smart:
    """The state of the authorization server."""

    app: App
    faults: Faults
    http: httpx.AsyncClient
    clock: Callable[[], float] = time.time
    key: RSAKey = field(
        default_factory=lambda: RSAKey.generate_key(
            2048, {"use": "sig", "alg": "RS256"}, private=True, auto_kid=True
        )
    )
    other: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, private=True))
    launches: dict[str, Context] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    spent: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, tuple[Context, float]] = field(default_factory=dict)
    assertions: set[str] = field(default_factory=set)

    def launch(self, establishment: str, professional: Professional, patient: Patient, session: str) -> str:
        """A new launch value."""
        value = secrets.token_urlsafe(24)
        until = self.clock() + LAUNCH_LIFE
        self.launches[value] = Context(establishment, professional, patient, session, until)
        return value

    def authorize(self, query: Json, issuer: str, session: str) -> str:
        """The code. Raises OAuthError; the caller has checked client and redirect_uri."""
        wanted = {"response_type": "code", "aud": issuer, "code_challenge_method": "S256"}
        for name, value in wanted.items():
            if query.get(name) != value:
                raise OAuthError("invalid_request", f"{name} must be {value}")
        challenge = query.get("code_challenge", "")
        if len(challenge) != 43 or len(query.get("state", "")) < 22:
            raise OAuthError("invalid_request", "code_challenge or state is missing")
        if "launch" not in query.get("scope", "").split():
            raise OAuthError("invalid_scope", "the launch scope is missing")
        context = self.launches.pop(query.get("launch", ""), None)
        if context is None or context.until < self.clock():
            raise OAuthError("invalid_request", "the launch is unknown, used or over")
        if context.session != session:
            raise OAuthError("access_denied", "the launch belongs to another session")
        code = secrets.token_urlsafe(24)
        until = self.clock() + CODE_LIFE
        self.codes[code] = Code(context, query["scope"], query.get("nonce"), challenge, until)
        return code

    async def token(self, form: Json, issuer: str, endpoint: str, basic: tuple[str, str] | None) -> Json:
        """The token response. Raises OAuthError."""
        await self._client(form, endpoint, basic)
        if form.get("grant_type") != "authorization_code":
            raise OAuthError("unsupported_grant_type", "only authorization_code")
        code = form.get("code", "")
        if code in self.spent:
            self.tokens.pop(self.spent[code], None)
            raise OAuthError("invalid_grant", "the code was used before; its token is revoked")
        known = self.codes.pop(code, None)
        if known is None or known.until < self.clock():
            raise OAuthError("invalid_grant", "the code is unknown or over")
        if form.get("redirect_uri") != self.app.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri differs")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if _base64(digest) != known.challenge:
            raise OAuthError("invalid_grant", "code_verifier does not fit")
        token = secrets.token_urlsafe(24)
        self.spent[code] = token
        self.tokens[token] = (known.context, self.clock() + TOKEN_LIFE)
        return self._answer(known, token, issuer)

    def holder(self, authorization: str) -> Context | None:
        """Whose token this is; None when it is not in force."""
        scheme, _, token = authorization.partition(" ")
        found = self.tokens.get(token) if scheme.lower() == "bearer" else None
        return found[0] if found and found[1] > self.clock() else None

    def jwks(self) -> Json:
        return {"keys": [] if "cles-vides" in self.faults else [self.key.as_dict(private=False)]}

    def _answer(self, code: Code, token: str, issuer: str) -> Json:
        context, off = code.context, self.faults
        answer: Json = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": TOKEN_LIFE,
            "scope": code.scope,
            "need_patient_banner": True,
            "patient": context.patient.id,
            "encounter": context.patient.venue_id,
            "id_token": self._id_token(code, issuer),
        }
        if context.patient.intent and "sans-intention" not in off:
            answer["intent"] = context.patient.intent
        missing = {
            "jeton-sans-acces": "access_token",
            "sans-id-token": "id_token",
            "sans-patient": "patient",
            "sans-venue": "encounter",
        }
        for fault, name in missing.items():
            if fault in off:
                del answer[name]
        return answer

    def _id_token(self, code: Code, issuer: str) -> str:
        """Good unless a fault is on."""
        off, at = self.faults, int(self.clock())
        user = f"Practitioner/{code.context.professional.id}"
        claims: Json = {
            "iss": issuer,
            "sub": hashlib.sha256(user.encode()).hexdigest()[:32],
            "aud": CLIENT,
            "exp": at + 300,
            "iat": at,
            "fhirUser": user,
        }
        if code.nonce:
            claims["nonce"] = code.nonce
        changes: dict[str, Json] = {
            "iss": {"iss": "https://autre-dpi.exemple.invalid/fhir"},
            "aud": {"aud": "autre-application"},
            "azp": {"azp": "autre-application"},
            "nonce": {"nonce": "autre"},
            "sans-nonce": {"nonce": None},
            "expire": {"exp": at - 61, "iat": at - 361},
            "futur": {"iat": at + 120, "exp": at + 420},
            "sans-fhiruser": {"fhirUser": None},
            "fhiruser-absolu": {"fhirUser": f"{issuer}/{user}"},
            "fhiruser-ailleurs": {"fhirUser": f"https://autre-dpi.exemple.invalid/fhir/{user}"},
        }
        for fault, change in changes.items():
            if fault in off:
                claims |= change
        return self._signed({name: value for name, value in claims.items() if value is not None})

    def _signed(self, claims: Json) -> str:
        off = self.faults
        if "alg-none" in off:
            return _compact({"alg": "none", "typ": "JWT"}, claims) + "."
        if "alg-hs256" in off:  # by hand: the library refuses a public key as a secret
            body = _compact({"alg": "HS256", "typ": "JWT", "kid": self.key.kid}, claims)
            return body + "." + _base64(hmac.digest(self.key.as_pem(private=False), body.encode(), "sha256"))
        header: Json = {"alg": "RS256", "kid": "inconnu" if "kid-inconnu" in off else self.key.kid}
        if "sans-kid" in off:
            del header["kid"]
        key = self.other if "signature" in off else self.key
        return jwt.encode(header, claims, key, algorithms=["RS256"])

    async def _client(self, form: Json, endpoint: str, basic: tuple[str, str] | None) -> None:
        """private_key_jwt by the app's published keys, or its secret. Raises OAuthError."""
        if self.app.secret is not None:
            given = basic or (form.get("client_id"), form.get("client_secret"))
            if given != (CLIENT, self.app.secret):
                raise OAuthError("invalid_client", "wrong client or secret", 401)
            return
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        if form.get("client_assertion_type") != kind:
            raise OAuthError("invalid_client", "a client assertion is needed", 401)
        try:
            keys = KeySet.import_key_set((await self.http.get(self.app.jwks_uri)).json())
            claims = jwt.decode(form["client_assertion"], keys, algorithms=["RS384", "ES384"]).claims
        except (httpx.HTTPError, JoseError, ValueError, KeyError) as error:
            raise OAuthError("invalid_client", "the client assertion does not verify", 401) from error
        at, jti = self.clock(), str(claims.get("jti"))
        good = claims.get("iss") == claims.get("sub") == CLIENT and claims.get("aud") == endpoint
        if not good or not at - 5 < claims.get("exp", 0) <= at + 300 or jti in self.assertions:
            raise OAuthError(
                "invalid_client", "the client assertion is not for this server, over, or used", 401
            )
        self.assertions.add(jti)


def _compact(header: Json, claims: Json) -> str:
    return ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
