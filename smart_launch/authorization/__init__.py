"""The authorization server: registered clients, short-lived tokens, what they may do, and the documents that
say so."""

from __future__ import annotations

import httpx
from starlette.routing import BaseRoute, Route

from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from smart_launch.authorization.discovery import ENDPOINTS
from smart_launch.authorization.endpoints import Endpoints
from smart_launch.authorization.keys import Keys
from smart_launch.authorization.peer_keys import PeerKeys
from smart_launch.authorization.tokens import mint

__all__ = ["Keys", "mint", "routes"]


def routes(store: Store, settings: Settings, keys: Keys, http: httpx.AsyncClient) -> list[BaseRoute]:
    """The OAuth endpoints and the two discovery documents; `http` fetches the key sets of registered clients
    (`outbound.client()`). The caller closes it."""
    here = Endpoints(store, settings, keys, PeerKeys(http, keys.clock))
    posts = {
        "token_endpoint": here.token,
        "introspection_endpoint": here.introspect,
        "revocation_endpoint": here.revoke,
    }
    return [
        *(Route(ENDPOINTS[name], handler, methods=["POST"]) for name, handler in posts.items()),
        Route(ENDPOINTS["jwks_uri"], here.jwks, methods=["GET"]),
        Route("/fhir/.well-known/smart-configuration", here.smart_configuration, methods=["GET"]),
        Route("/.well-known/openid-configuration", here.openid_configuration, methods=["GET"]),
        Route("/.well-known/oauth-authorization-server", here.openid_configuration, methods=["GET"]),
    ]
