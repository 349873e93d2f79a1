"""The OAuth endpoints: load, let `server` decide in a worker thread, persist, answer.

RFC 6749 §5; RFC 7662; RFC 7009; SMART App Launch 2.2 backend-services.html
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

import anyio
import anyio.to_thread
from joserfc.jwk import KeySet
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from profiles.outcomes import TeledossierError
from smart_launch import forms, outbound
from smart_launch.authorization import assertion, clients, discovery, server, tokens
from smart_launch.authorization.keys import BadToken, Keys
from smart_launch.authorization.peer_keys import PeerKeys, import_public
from smart_launch.authorization.tokens import Issuer
from smart_launch.clock import SECOND

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
USED = "used-assertion"


def oauth_error(error: str, description: str, status: int = 400) -> JSONResponse:
    """RFC 6749 §5.2; the description is plain ASCII."""
    headers = dict(NO_STORE)
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="teledossier"'
    return JSONResponse({"error": error, "error_description": description}, status, headers)


class Answered(Exception):
    """The request is already answered."""

    def __init__(self, response: Response) -> None:
        super().__init__("answered")
        self.response = response


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The handlers, over one store and one set of keys."""

    store: Store
    settings: Settings
    keys: Keys
    peers: PeerKeys
    hashing: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(2))

    async def token(self, request: Request) -> Response:
        """POST /oauth/token"""
        try:
            asked = await self._asked(request)
            decision = await self._decide(server.decide_token, asked)
        except Answered as answered:
            return answered.response
        return JSONResponse(decision.body, decision.status, {**dict(decision.headers), **NO_STORE})

    async def introspect(self, request: Request) -> Response:
        """POST /oauth/introspect: by a client that proves itself, or with a bearer token of this server. RFC
        7662 §2"""
        try:
            asked = await self._asked(request)
            if not await self._bearer(asked.authorization):
                await self._proven(asked)
        except Answered as answered:
            return answered.response
        found = await self._found(asked.form.get("token", ""))
        if found is None:
            return JSONResponse({"active": False}, headers=NO_STORE)
        names = ("scope", "client_id", "exp", "iat", "iss", "sub", "aud", "jti")
        told = {
            "active": True,
            "token_type": "Bearer",
            **{name: found[name] for name in names if name in found},
        }
        return JSONResponse(told, headers=NO_STORE)

    async def revoke(self, request: Request) -> Response:
        """POST /oauth/revoke: 200 also for a token that is unknown; another client's token stays. RFC 7009
        §2"""
        try:
            asked = await self._asked(request)
            client = await self._proven(asked)
        except Answered as answered:
            return answered.response
        if not asked.form.get("token"):
            return oauth_error("invalid_request", "token is missing")
        found = await self._found(asked.form["token"])
        if found is not None and found["client_id"] == client.id:
            await tokens.revoke(self.store, found)
        return Response(status_code=200, headers=NO_STORE)

    async def jwks(self, request: Request) -> Response:
        """GET /oauth/jwks"""
        return JSONResponse((await self.keys.load()).jwks(), headers={"Cache-Control": "public, max-age=300"})

    async def smart_configuration(self, request: Request) -> Response:
        return JSONResponse(discovery.smart_configuration(self.settings))

    async def openid_configuration(self, request: Request) -> Response:
        return JSONResponse(discovery.openid_configuration(self.settings))

    async def _asked(self, request: Request) -> server.Asked:
        """The request with the client and the keys it claims. Raises Answered."""
        try:
            form = await forms.read(request)
        except TeledossierError as error:
            raise Answered(oauth_error("invalid_request", str(error), error.status)) from error
        authorization = request.headers.get("authorization", "")
        client_id, claimed = _claimed(form, authorization)
        client = await clients.get(self.store, client_id) if client_id else None
        keys = await self._client_keys(client, claimed) if client and claimed else None
        return server.Asked(form, authorization, client, keys)

    async def _client_keys(self, client: clients.Client, claimed: assertion.Claimed) -> KeySet | None:
        if claimed.jku is not None and claimed.jku != client.jwks_uri:
            raise Answered(oauth_error("invalid_client", "jku is not the registered key set address", 401))
        try:
            if client.jwks is not None:
                return import_public(client.jwks)
            return await self.peers.get(client.jwks_uri, claimed.kid) if client.jwks_uri else None
        except (outbound.Unreachable, outbound.Refused) as error:
            text = "the key set of the client cannot be read at its registered address"
            raise Answered(oauth_error("invalid_client", text, 401)) from error

    async def _decide(self, judge: Any, asked: server.Asked) -> server.Decision:
        """Decide on the snapshot, then note the assertion as used, once for all processes. Raises
        Answered."""
        issuer = Issuer(self.settings, await self.keys.load())
        decision: server.Decision = await anyio.to_thread.run_sync(
            partial(judge, asked, issuer), limiter=self.hashing
        )
        if decision.used is not None and asked.client is not None:
            jti, exp = decision.used
            expires = (exp + assertion.SKEW + 1) * SECOND
            key = f"{asked.client.id} {jti}"
            if not await self.store.put_record(USED, key, {}, expires=expires, only_if_absent=True):
                raise Answered(oauth_error("invalid_client", "the client assertion was already used", 401))
        return decision

    async def _proven(self, asked: server.Asked) -> clients.Client:
        decision = await self._decide(server.decide_client, asked)
        if decision.client is None:
            raise Answered(oauth_error("invalid_client", "the client did not authenticate", 401))
        return decision.client

    async def _bearer(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and await self._found(token.strip()) is not None

    async def _found(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that is in force."""
        try:
            found = tokens.check(await self.keys.load(), self.settings, token)
        except BadToken:
            return None
        return found if await tokens.alive(self.store, found) else None


def _claimed(form: Mapping[str, str], authorization: str) -> tuple[str, assertion.Claimed | None]:
    """The client id that a request claims, by exactly one way; the assertion's own claim with it. Raises
    Answered."""
    basic = authorization.lower().startswith("basic")
    ways = [basic, "client_secret" in form, "client_assertion" in form]
    if sum(ways) > 1:
        raise Answered(oauth_error("invalid_request", "more than one way to authenticate the client"))
    if basic:
        return _basic(authorization), None
    if "client_assertion" not in form:
        return form.get("client_id", ""), None
    if form.get("client_assertion_type") != assertion.TYPE:
        raise Answered(oauth_error("invalid_client", "client_assertion_type must be " + assertion.TYPE, 401))
    try:
        claimed = assertion.peek(form["client_assertion"])
    except assertion.BadAssertion as error:
        raise Answered(oauth_error("invalid_client", str(error), 401)) from error
    if form.get("client_id", claimed.client_id) != claimed.client_id:
        raise Answered(oauth_error("invalid_client", "client_id is not the subject of the assertion", 401))
    return claimed.client_id, claimed


def _basic(authorization: str) -> str:
    """The user name of an Authorization: Basic header, as OAuth encodes it. RFC 6749 §2.3.1"""
    try:
        _, encoded = authorization.split()
        name, colon, _ = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (ValueError, binascii.Error) as error:
        raise Answered(
            oauth_error("invalid_client", "the Authorization header cannot be read", 401)
        ) from error
    if not colon:
        raise Answered(oauth_error("invalid_client", "the Authorization header holds no secret", 401))
    return unquote(name)
