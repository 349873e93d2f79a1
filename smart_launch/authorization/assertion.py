"""private_key_jwt: a client proves itself by a short statement signed with its own key.

    header  alg RS384 | ES384, kid, typ JWT, optional jku (only the registered address)
    claims  iss = sub = client_id, aud = the token endpoint, exp at most five minutes ahead, jti used once

SMART App Launch 2.2 client-confidential-asymmetric.html; RFC 7523 §3
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ("RS384", "ES384")
LONGEST = 300
SKEW = 60
"""Seconds that two clocks may differ."""


class BadAssertion(Exception):
    """Why an assertion is refused; plain ASCII, for the error_description."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What an assertion says of itself before its signature is checked: enough to find the key, nothing
    more."""

    client_id: str
    kid: str | None
    jku: str | None


def peek(assertion: str) -> Claimed:
    """Raises BadAssertion."""
    try:
        head, body, _ = assertion.split(".")
        header, claims = _part(head), _part(body)
    except (ValueError, binascii.Error, RecursionError) as error:
        raise BadAssertion("the client assertion is not a compact JWS") from error
    subject = claims.get("sub")
    if not isinstance(subject, str) or claims.get("iss") != subject:
        raise BadAssertion("iss and sub of the client assertion must both be the client id")
    kid, jku = header.get("kid"), header.get("jku")
    return Claimed(subject, kid if isinstance(kid, str) else None, jku if isinstance(jku, str) else None)


def check(assertion: str, client_id: str, keys: KeySet, audience: str, at: int) -> tuple[str, int]:
    """Signature and claims, at UTC second `at`. Returns (jti, exp), for the caller to note as used. Raises
    BadAssertion."""
    try:
        decoded = jwt.decode(assertion, _fitting(keys, peek(assertion).kid), algorithms=list(ALGORITHMS))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise BadAssertion("the signature of the client assertion does not verify") from error
    claims = decoded.claims
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        raise BadAssertion("iss and sub of the client assertion must both be the client id")
    named = claims.get("aud")
    if audience not in (named if isinstance(named, list) else [named]):
        raise BadAssertion("aud of the client assertion must be the token endpoint")
    return _identifier(claims), _expiry(claims, at)


def _fitting(keys: KeySet, kid: str | None) -> KeySet:
    """The keys that may have signed. A kid that no key bears is refused, not tried on every key."""
    if kid is None:
        if len(keys.keys) == 1:
            return keys
        raise BadAssertion("the client assertion names no kid, and the client has several keys")
    found = [key for key in keys.keys if key.kid == kid]
    if not found:
        raise BadAssertion("no key of the client has the kid of the assertion")
    return KeySet(found)


def _expiry(claims: dict[str, Any], at: int) -> int:
    exp = claims.get("exp")
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        raise BadAssertion("exp of the client assertion is missing")
    if exp <= at - SKEW:
        raise BadAssertion("the client assertion has expired")
    if exp > at + LONGEST + SKEW:
        raise BadAssertion("exp of the client assertion is more than five minutes ahead")
    for name in ("nbf", "iat"):
        moment = claims.get(name)
        if moment is not None and (not isinstance(moment, int | float) or moment > at + SKEW):
            raise BadAssertion(f"{name} of the client assertion lies in the future")
    return int(exp)


def _identifier(claims: dict[str, Any]) -> str:
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= 256:
        raise BadAssertion("jti of the client assertion is missing or longer than 256 characters")
    return jti


def _part(encoded: str) -> dict[str, Any]:
    value = json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
