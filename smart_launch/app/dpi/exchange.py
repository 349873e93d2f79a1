"""The OAuth half of a launch: discovery, the address to authorize at, the code's exchange, the id_token's
proof.

SMART App Launch 2.2 app-launch.html; RFC 7636 §4; OpenID Connect Core §3.1.3.7; RFC 9207 §2.4
"""

from __future__ import annotations

import binascii
import hashlib
import json
import secrets
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from smart_launch import outbound
from smart_launch.app.dpi.issuers import Issuer
from smart_launch.app.dpi.ports import Json, Platform
from smart_launch.app.dpi.refusals import Stopped
from smart_launch.clock import seconds

CALLBACK = "/launch/callback"
SCOPE = (
    "launch openid fhirUser patient/Patient.rs patient/Encounter.rs patient/ServiceRequest.rs "
    "user/Practitioner.rs"
)
SKEW = 60
"""Seconds."""
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What a DPI announces, checked."""

    issuer: str
    authorization: str
    token: str
    jwks: str


@dataclass(frozen=True, slots=True)
class Begun:
    """One launch on its way: the secrets it began with."""

    iss: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Granted:
    """What the DPI gave: a token for its FHIR, who is signed in there, and the context."""

    token: str
    user: str
    patient: str | None
    encounter: str | None
    context: tuple[str, ...]
    intent: str


async def discover(platform: Platform, issuer: Issuer) -> Endpoints:
    """Raises Stopped."""
    try:
        found = await outbound.request_json(
            platform.http, "GET", issuer.iss + "/.well-known/smart-configuration", limit=200_000
        )
    except (outbound.Unreachable, outbound.Refused) as error:
        raise Stopped("dpi-injoignable", f"discovery: {error}") from error
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    if not all(isinstance(found.get(name), str) and issuer.trusts(found[name]) for name in names):
        raise Stopped("dpi-configuration", "an endpoint is missing or on an origin that is not registered")
    methods = found.get("code_challenge_methods_supported")
    if not isinstance(methods, list) or "S256" not in methods:
        raise Stopped("dpi-configuration", "PKCE with S256 is not announced")
    named = found.get("issuer", issuer.iss)
    if not isinstance(named, str) or not issuer.trusts(named):
        raise Stopped("dpi-configuration", "issuer is not on a registered origin")
    return Endpoints(named, *(found[name] for name in names))


def begin(iss: str) -> Begun:
    """A new launch's secrets: 256 bits each. RFC 7636 §4.1"""
    return Begun(iss, secrets.token_urlsafe(32), secrets.token_urlsafe(48))


def authorize_address(
    platform: Platform, issuer: Issuer, ends: Endpoints, begun: Begun, state: str, launch: str
) -> str:
    """Where the browser goes next."""
    digest = hashlib.sha256(begun.verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": issuer.client_id,
        "redirect_uri": platform.url + CALLBACK,
        "scope": SCOPE,
        "state": state,
        "nonce": begun.nonce,
        "aud": issuer.iss,
        "launch": launch,
        "code_challenge": urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    return ends.authorization + ("&" if "?" in ends.authorization else "?") + urlencode(query)


async def redeem(platform: Platform, issuer: Issuer, ends: Endpoints, begun: Begun, code: str) -> Granted:
    """Exchange the code and check who it is. Raises Stopped."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": platform.url + CALLBACK,
        "code_verifier": begun.verifier,
    }
    headers = {}
    if issuer.client_secret is not None:
        pair = f"{quote(issuer.client_id, safe='')}:{quote(issuer.client_secret, safe='')}"
        headers["Authorization"] = "Basic " + _base64(pair)
    else:
        form |= {
            "client_id": issuer.client_id,
            "client_assertion_type": ASSERTION,
            "client_assertion": await _assertion(platform, issuer, ends),
        }
    try:
        answer = await outbound.request_json(platform.http, "POST", ends.token, form=form, headers=headers)
    except outbound.Unreachable as error:
        raise Stopped("dpi-injoignable", f"token: {error}") from error
    except outbound.Refused as error:
        slug = "code-refuse" if error.status in (400, 401, 403) else "dpi-injoignable"
        raise Stopped(slug, f"token: {error}") from error
    claims = await _identity(platform, issuer, ends, begun, answer.get("id_token"))
    return _granted(answer, claims)


def _granted(answer: Json, claims: Json) -> Granted:
    token = answer.get("access_token")
    if not isinstance(token, str) or not token or str(answer.get("token_type", "")).lower() != "bearer":
        raise Stopped("dpi-configuration", "the token response holds no bearer token")
    user = claims.get("fhirUser", claims.get("profile"))
    if not isinstance(user, str):
        raise Stopped("praticien-illisible", "the id_token holds no fhirUser")
    listed = answer.get("fhirContext")
    context = tuple(
        item["reference"]
        for item in (listed if isinstance(listed, list) else [])
        if isinstance(item, dict) and isinstance(item.get("reference"), str)
    )
    return Granted(
        token,
        user,
        _text(answer, "patient"),
        _text(answer, "encounter"),
        context[:20],
        _text(answer, "intent") or "",
    )


async def _assertion(platform: Platform, issuer: Issuer, ends: Endpoints) -> str:
    """This server's own proof. SMART App Launch 2.2 client-confidential-asymmetric.html"""
    at = seconds(platform.clock())
    signed = await platform.sign(
        {
            "iss": issuer.client_id,
            "sub": issuer.client_id,
            "aud": ends.token,
            "exp": at + 240,
            "iat": at,
            "jti": secrets.token_urlsafe(18),
        }
    )
    return str(signed)


async def _identity(platform: Platform, issuer: Issuer, ends: Endpoints, begun: Begun, token: Any) -> Json:
    """The claims of the id_token, proven. Raises Stopped."""
    if not isinstance(token, str) or len(token) > 20_000:
        raise Stopped("identite-non-prouvee", "the token response holds no id_token")
    try:
        header = _header(token)
        if header.get("alg") != "RS256":
            raise Stopped("identite-non-prouvee", "the id_token is not signed with RS256")
        kid = header.get("kid")
        keys = await platform.peers.get(ends.jwks, kid if isinstance(kid, str) else None)
        claims = jwt.decode(token, _candidates(keys, kid), algorithms=["RS256"]).claims
    except (outbound.Unreachable, outbound.Refused) as error:
        raise Stopped("dpi-injoignable", f"jwks: {error}") from error
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise Stopped(
            "identite-non-prouvee", f"the id_token does not verify ({type(error).__name__})"
        ) from error
    fault = _fault(claims, issuer, ends, begun, seconds(platform.clock()))
    if fault:
        raise Stopped("identite-non-prouvee", fault)
    return dict(claims)


def _candidates(keys: KeySet, kid: Any) -> KeySet:
    """The RSA keys that may have signed: the one of the kid, or the only one where the header names none."""
    rsa = [key for key in keys.keys if key.key_type == "RSA" and (kid is None or key.kid == kid)]
    if len(rsa) != 1:
        raise ValueError("not exactly one key fits")
    # The key stands alone: a kid it may have or lack says nothing more.
    return KeySet(rsa)


def _fault(claims: Json, issuer: Issuer, ends: Endpoints, begun: Begun, at: int) -> str:
    """What is wrong with the claims; "" when nothing is. OpenID Connect Core §3.1.3.7"""
    audience = claims.get("aud")
    listed = audience if isinstance(audience, list) else [audience]
    exp, iat = claims.get("exp"), claims.get("iat")
    checks = (
        (claims.get("iss") == ends.issuer, "iss of the id_token"),
        (issuer.client_id in listed, "aud of the id_token"),
        ("azp" not in claims or claims["azp"] == issuer.client_id, "azp of the id_token"),
        (len(listed) == 1 or "azp" in claims, "aud of the id_token names several without azp"),
        (_number(exp, at - SKEW) > at - SKEW, "exp of the id_token"),
        (_number(iat, at + SKEW + 1) <= at + SKEW, "iat of the id_token"),
        (
            secrets.compare_digest(str(claims.get("nonce")).encode(), begun.nonce.encode()),
            "nonce of the id_token",
        ),
        (isinstance(claims.get("sub"), str) and 0 < len(claims["sub"]) < 256, "sub of the id_token"),
    )
    return next((what for good, what in checks if not good), "")


def _number(value: Any, otherwise: float) -> float:
    """A NumericDate, or `otherwise` for anything else."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _header(token: str) -> Json:
    """The header before any trust in it. Raises ValueError."""
    encoded = token.split(".", 1)[0]
    try:
        header = json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if not isinstance(header, dict):
        raise ValueError("not an object")
    return header


def _text(answer: Json, name: str) -> str | None:
    value = answer.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= 200 else None


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
