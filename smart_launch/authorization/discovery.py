"""What this authorization server says of itself, put together from what is registered: no promise that is
not there.

SMART App Launch 2.2 conformance.html; OpenID Connect Discovery 1.0 §3; RFC 8414 §2
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir_server.settings import Settings
from smart_launch.authorization import assertion, keys, server

# endpoint's name in the documents → path; `routes` registers exactly these
ENDPOINTS: Mapping[str, str] = {
    "token_endpoint": "/oauth/token",
    "introspection_endpoint": "/oauth/introspect",
    "revocation_endpoint": "/oauth/revoke",
    "jwks_uri": "/oauth/jwks",
}
# what each grant lets a SMART client do
CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    "client_credentials": ("permission-v1", "permission-v2"),
}
AUTH_CAPABILITIES: Mapping[str, str] = {
    "client_secret_basic": "client-confidential-symmetric",
    "private_key_jwt": "client-confidential-asymmetric",
}


def smart_configuration(settings: Settings) -> dict[str, Any]:
    """`[fhirBase]/.well-known/smart-configuration`. `code_challenge_methods_supported` stands there because
    SMART requires it of every server: S256 is the only method that will ever be taken."""
    grants = [grant.GRANT_TYPE for grant in server.GRANTS]
    said = {name for grant in grants for name in CAPABILITIES[grant]}
    said |= {AUTH_CAPABILITIES[method] for method in server.AUTH_METHODS if method in AUTH_CAPABILITIES}
    return {
        **_common(settings),
        "scopes_supported": ["system/*.cruds", "system/*.rs"],
        "code_challenge_methods_supported": ["S256"],
        "capabilities": sorted(said),
    }


def openid_configuration(settings: Settings) -> dict[str, Any]:
    """`/.well-known/openid-configuration`: the same facts under the names of RFC 8414; people sign in to the
    portal itself, so no authorization endpoint and no id_token is announced yet."""
    return {
        **_common(settings),
        "scopes_supported": ["system/*.cruds", "system/*.rs"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [keys.TOKEN_ALGORITHM],
    }


def _common(settings: Settings) -> dict[str, Any]:
    return {
        "issuer": settings.url,
        **{name: settings.url + path for name, path in ENDPOINTS.items()},
        "grant_types_supported": [grant.GRANT_TYPE for grant in server.GRANTS],
        "token_endpoint_auth_methods_supported": list(server.AUTH_METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(assertion.ALGORITHMS),
    }
