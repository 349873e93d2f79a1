"""The token endpoint's decision, by Authlib's server core on a snapshot.

Authlib decides synchronously. So everything it may ask for is loaded first (the client, its keys), it
decides on that snapshot in a worker thread (argon2 costs 20 ms), and what it decided is persisted after: an
assertion's jti is noted as used before the token leaves. One server object per request, and none is shared.

A further grant (authorization_code, refresh_token) is one more class in GRANTS, and discovery names it by
itself. RFC 6749 §4.4, §5
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidScopeError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from joserfc.jwk import KeySet

from smart_launch import passwords
from smart_launch.authorization import assertion, scopes
from smart_launch.authorization.clients import Client
from smart_launch.authorization.tokens import Issuer
from smart_launch.clock import seconds

AUTH_METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to a protected OAuth endpoint, already read; header names in lower case."""

    form: Mapping[str, str]
    authorization: str
    client: Client | None
    keys: KeySet | None


@dataclass(slots=True)
class Decision:
    """What was decided: the answer, who asked, and the assertion to note as used (jti, exp in seconds)."""

    status: int = 500
    body: dict[str, Any] = field(default_factory=dict)
    headers: list[tuple[str, str]] = field(default_factory=list)
    client: Client | None = None
    used: tuple[str, int] | None = None


class BackendGrant(ClientCredentialsGrant):  # type: ignore[misc]
    """client_credentials: a machine on its own account."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS


GRANTS = (BackendGrant,)


class TokenServer(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server for one request."""

    def __init__(self, asked: Asked, issuer: Issuer) -> None:
        super().__init__()
        self.asked, self.issuer = asked, issuer
        self.decision = Decision()
        self.register_client_auth_method("private_key_jwt", self._by_assertion)
        self.register_token_generator("default", self._issue)
        for grant in GRANTS:
            self.register_grant(grant)

    def query_client(self, client_id: str) -> _Registered | None:
        known = self.asked.client
        return _Registered(known) if known is not None and known.id == client_id else None

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        """Access tokens carry all that is needed; nothing is kept."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Authlib's hook for other frameworks."""

    def create_oauth2_request(self, request: Asked) -> Any:
        # Whether transport is secure is the reverse proxy's matter and the settings'; the core must not
        # judge it again.
        made = OAuth2Request("POST", "https://token.endpoint.invalid/", headers=_headers(request))
        made.payload = BasicOAuth2Payload(dict(request.form))
        # Authlib takes an empty form for one that was not read.
        made._body = dict(request.form) or {"grant_type": ""}
        return made

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Decision:
        self.decision.status, self.decision.headers = status, list(headers)
        self.decision.body = dict(body)
        return self.decision

    def _by_assertion(self, query: Any, request: Any) -> _Registered | None:
        """RFC 7523 §2.2"""
        if request.form.get("client_assertion_type") != assertion.TYPE or self.asked.keys is None:
            return None
        known = self.asked.client
        if known is None:
            return None
        issuer = self.issuer
        try:
            self.decision.used = assertion.check(
                request.form.get("client_assertion", ""),
                known.id,
                self.asked.keys,
                issuer.settings.url + "/oauth/token",
                seconds(issuer.signing.clock()),
            )
        except assertion.BadAssertion as error:
            raise InvalidClientError(status_code=401, description=str(error)) from error
        return _Registered(known)

    def _issue(
        self, grant_type: str, client: _Registered, scope: str | None = None, **_: Any
    ) -> dict[str, Any]:
        try:
            granted = scopes.grant(scope or "", client.client.scope)
        except scopes.BadScope as error:
            raise InvalidScopeError(description=str(error)) from error
        self.decision.client = client.client
        return self.issuer.issue(client.client.id, granted)


class _Registered(ClientMixin):  # type: ignore[misc]
    """A client as Authlib wants to ask it."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def get_client_id(self) -> str:
        return self.client.id

    def get_allowed_scope(self, scope: str) -> str:
        return self.client.scope

    def check_client_secret(self, client_secret: str) -> bool:
        known = self.client.secret_hash
        return passwords.matches(known or passwords.NOBODY, client_secret) and known is not None

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in self.client.auth_methods

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in {grant.GRANT_TYPE for grant in GRANTS}


def decide_token(asked: Asked, issuer: Issuer) -> Decision:
    """The token endpoint's answer. Blocking: for a worker thread."""
    server = TokenServer(asked, issuer)
    decision: Decision = server.create_token_response(asked)
    return decision


def decide_client(asked: Asked, issuer: Issuer) -> Decision:
    """Only who asks, for introspection and revocation; `client` is None when it did not prove itself.
    Blocking."""
    server = TokenServer(asked, issuer)
    request = server.create_oauth2_request(asked)
    try:
        server.decision.client = server.authenticate_client(request, AUTH_METHODS).client
    except InvalidClientError as error:
        return server.handle_response(*error())
    return server.decision


def _headers(asked: Asked) -> dict[str, str]:
    return {"Authorization": asked.authorization} if asked.authorization else {}
