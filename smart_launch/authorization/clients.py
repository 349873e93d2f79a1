"""Registered clients: records of kind "client", by client_id.

    {name, scope, secret_hash?, jwks?, jwks_uri?, origins: [], created}

A client authenticates by a secret (argon2, shown once) or by its own key (inline JWKS, or the address of
one).
"""

from __future__ import annotations

import re
import secrets
from dataclasses import asdict, dataclass
from typing import Any

from fhir_server.store.contract import Store
from profiles.outcomes import Conflict, Invalid, NotFound
from smart_launch import outbound, passwords
from smart_launch.authorization import peer_keys, scopes
from smart_launch.clock import now

KIND = "client"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Client:
    """One registered client. `scope` is the most it may be granted; `origins` are the web origins it may
    call from."""

    id: str
    name: str
    scope: str
    secret_hash: str | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    origins: tuple[str, ...] = ()
    created: int = 0

    @property
    def auth_methods(self) -> tuple[str, ...]:
        """How it may authenticate at the token endpoint. RFC 7591 §2"""
        return ("client_secret_basic", "client_secret_post") if self.secret_hash else ("private_key_jwt",)


async def add(
    store: Store,
    id: str,
    *,
    scope: str,
    name: str = "",
    secret: str | None = None,
    jwks: dict[str, Any] | None = None,
    jwks_uri: str | None = None,
    origins: tuple[str, ...] = (),
) -> tuple[Client, str | None]:
    """Register; returns the client and its secret, made here when neither secret nor key is given.
    Raises Invalid, Conflict when the id is taken."""
    if not _ID.match(id):
        raise Invalid("client-id", "a client id has 1 to 64 letters, digits, dots, dashes or underscores")
    try:
        granted = scopes.grant(scope, scope)
    except scopes.BadScope as error:
        raise Invalid("client-scope", str(error)) from error
    _check_keys(jwks, jwks_uri)
    if any(outbound.origin(one) != one for one in origins):
        raise Invalid("client-origin", "an origin is scheme://host[:port] alone")
    if jwks is None and jwks_uri is None:
        secret = secret or secrets.token_urlsafe(32)
    elif secret is not None:
        raise Invalid("client-credentials", "a client has either a secret or a key")
    client = Client(
        id,
        name or id,
        granted,
        passwords.digest(secret) if secret else None,
        jwks,
        jwks_uri,
        tuple(origins),
        now(),
    )
    value = {key: item for key, item in asdict(client).items() if key != "id"}
    if not await store.put_record(KIND, id, value, only_if_absent=True):
        raise Conflict("client-exists", f"client {id} is already registered")
    return client, secret


async def get(store: Store, id: str) -> Client | None:
    record = await store.get_record(KIND, id) if _ID.match(id) else None
    return _client(id, record) if record else None


async def list_all(store: Store) -> list[Client]:
    return [_client(id, record) for id, record in sorted(await store.list_records(KIND))]


async def remove(store: Store, id: str) -> None:
    """Remove; its tokens are without effect from the next request on. Raises NotFound."""
    if not await store.delete_record(KIND, id):
        raise NotFound("client-unknown", f"no client {id} is registered")


def _client(id: str, record: dict[str, Any]) -> Client:
    return Client(id=id, **{**record, "origins": tuple(record.get("origins", ()))})


def _check_keys(jwks: dict[str, Any] | None, jwks_uri: str | None) -> None:
    if jwks is not None and jwks_uri is not None:
        raise Invalid("client-credentials", "give the key set or its address, not both")
    if jwks_uri is not None and not outbound.secure(jwks_uri):
        raise Invalid("client-jwks-uri", "the key set's address must be https (http on this machine only)")
    if jwks is None:
        return
    listed = jwks.get("keys")
    if not isinstance(listed, list) or not all(isinstance(key, dict) for key in listed):
        raise Invalid("client-jwks", "the key set cannot be read as a JWK set")
    if any(peer_keys.SECRET & key.keys() for key in listed):
        raise Invalid("client-jwks", "the key set must hold public keys only")
    try:
        peer_keys.import_public(jwks)
    except outbound.Unreachable as error:
        raise Invalid("client-jwks", "the key set holds no RSA or EC key that can be used") from error
