"""Access tokens: short JWTs signed here, checked at every request against the client's record and the
revocations.

    header  alg RS256, kid, typ at+jwt
    claims  iss the server, aud its FHIR base, sub and client_id the client, scope, iat, exp, jti

RFC 9068; RFC 7009
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from fhir_server.access import Access
from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from profiles.outcomes import Invalid, NotFound
from smart_launch.authorization import clients, scopes
from smart_launch.authorization.keys import BadToken, Keys, Signing
from smart_launch.clock import SECOND, Clock, now, seconds

TYPE = "at+jwt"
LIFETIME = 300
"""Seconds. SMART App Launch 2.2 backend-services.html: not more than 300."""
REVOKED = "revoked-token"


def claims(
    settings: Settings, client_id: str, scope: str, at: int, lifetime: int = LIFETIME
) -> dict[str, Any]:
    """The claims of a new token for a client without a user; `at` in UTC seconds."""
    return {
        "iss": settings.url,
        "aud": settings.fhir_base,
        "sub": f"Client/{client_id}",
        "client_id": client_id,
        "scope": scope,
        "iat": at,
        "exp": at + lifetime,
        "jti": secrets.token_urlsafe(18),
    }


def check(signing: Signing, settings: Settings, token: str) -> dict[str, Any]:
    """The claims of a token that was issued here and is not over; whether it was revoked is for `alive` to
    say. Raises BadToken."""
    found = signing.verify(token, issuer=settings.url, audience=settings.fhir_base, type=TYPE)
    if not all(isinstance(found.get(name), str) for name in ("jti", "client_id", "scope", "sub")):
        raise BadToken("a claim is missing")
    return found


async def alive(store: Store, found: dict[str, Any]) -> bool:
    """Whether its client is still registered and the token was not revoked."""
    if await clients.get(store, found["client_id"]) is None:
        return False
    return await store.get_record(REVOKED, found["jti"]) is None


async def revoke(store: Store, found: dict[str, Any]) -> None:
    """Without effect from now on; the note is kept as long as the token would have lived."""
    await store.put_record(
        REVOKED, found["jti"], {"client": found["client_id"]}, expires=(found["exp"] + 1) * SECOND
    )


def access(found: dict[str, Any]) -> Access:
    """What a machine's token lets do: its scopes, on every télédossier. Raises BadToken."""
    try:
        return Access(found["sub"], scopes.rights(found["scope"]), None)
    except scopes.BadScope as error:
        raise BadToken("a scope that is not known here") from error


async def mint(
    store: Store,
    settings: Settings,
    client_id: str,
    scope: str = "",
    *,
    lifetime: int = LIFETIME,
    clock: Clock = now,
) -> str:
    """An access token for a registered client, for the operator's own scripts (`teledossier token`).
    Raises NotFound, Invalid."""
    client = await clients.get(store, client_id)
    if client is None:
        raise NotFound("client-unknown", f"no client {client_id} is registered")
    try:
        granted = scopes.grant(scope, client.scope)
    except scopes.BadScope as error:
        raise Invalid("scope", str(error)) from error
    signing = await Keys(store, clock).load()
    return signing.sign(claims(settings, client.id, granted, seconds(signing.clock()), lifetime), type=TYPE)


@dataclass(frozen=True, slots=True)
class Issuer:
    """What the token endpoint needs to issue: the settings and the loaded keys."""

    settings: Settings
    signing: Signing

    def issue(self, client_id: str, scope: str) -> dict[str, Any]:
        """The token response. RFC 6749 §5.1"""
        made = claims(self.settings, client_id, scope, seconds(self.signing.clock()))
        return {
            "token_type": "Bearer",
            "access_token": self.signing.sign(made, type=TYPE),
            "expires_in": made["exp"] - made["iat"],
            "scope": scope,
        }
