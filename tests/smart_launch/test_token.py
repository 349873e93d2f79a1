"""The token endpoint, by an independent client (Authlib's) and by a table of refusals.

RFC 6749 §4.4, §5; RFC 7523; SMART App Launch 2.2 backend-services.html; names in the tests' ids are
Inferno's.
"""

from __future__ import annotations

import base64
import warnings
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from smart_launch.authorization import clients
from smart_launch.clock import SECOND
from tests.smart_launch.conftest import HERE, House

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from authlib.integrations.httpx_client import AsyncOAuth2Client
    from authlib.oauth2.rfc7523 import PrivateKeyJWT

TOKEN = HERE + "/oauth/token"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EC = ECKey.generate_key("P-384", {"kid": "ec"}, private=True)
RSA = RSAKey.generate_key(2048, {"kid": "rsa"}, private=True)
OTHER = ECKey.generate_key("P-384", {"kid": "ec"}, private=True)
PUBLIC = {"keys": [EC.as_dict(private=False), RSA.as_dict(private=False)]}


def assertion(house: House, key: Any = EC, alg: str = "ES384", kid: str | None = "ec", **changes: Any) -> str:
    at = house.clock() // SECOND
    claims = {"iss": "lab", "sub": "lab", "aud": TOKEN, "exp": at + 240, "jti": "j1", **changes}
    header = {"alg": alg, "typ": "JWT"} | ({"kid": kid} if kid else {})
    if "jku" in changes:
        header["jku"] = claims.pop("jku")
    return jwt.encode(header, {k: v for k, v in claims.items() if v is not None}, key, algorithms=[alg])


def form(house: House, **changes: Any) -> dict[str, str]:
    """A good client_credentials request with an assertion, changed."""
    fields = {
        "grant_type": "client_credentials",
        "scope": "system/*.rs",
        "client_assertion_type": JWT_BEARER,
        "client_assertion": changes.pop("client_assertion", None) or assertion(house),
        **changes,
    }
    return {key: value for key, value in fields.items() if value is not None}


def oauth_client(house: House, **options: Any) -> Any:
    transport = httpx.ASGITransport(app=house.guard, client=("127.0.0.1", 1))
    return AsyncOAuth2Client(transport=transport, base_url=HERE, token_endpoint=TOKEN, **options)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_authlib_client_with_a_secret(house: House, method: str) -> None:
    secret = "s%:é+ /" + "x" * 20
    await clients.add(house.store, "dash-1", scope="system/*.cruds", secret=secret)
    # Authlib's client does not percent-encode for Basic, as RFC 6749 §2.3.1 demands: the test does it
    encoded = "s%25%3A%C3%A9%2B%20%2F" + "x" * 20
    secret_sent = encoded if method == "client_secret_basic" else secret
    async with oauth_client(
        house,
        client_id="dash-1",
        client_secret=secret_sent,
        scope="system/Patient.rs",
        token_endpoint_auth_method=method,
    ) as client:
        token = await client.fetch_token(TOKEN, grant_type="client_credentials")
        assert {key: token[key] for key in ("token_type", "expires_in", "scope")} == {
            "token_type": "Bearer",
            "expires_in": 300,
            "scope": "system/Patient.rs",
        }
        assert "refresh_token" not in token
        seen = (await client.get("/fhir/Patient")).json()
    assert seen == {"subject": "Client/dash-1", "scopes": ["Patient.rs"], "audience": None, "session": None}


@pytest.mark.parametrize(("key", "alg"), [(EC, "ES384"), (RSA, "RS384")])
async def test_authlib_client_with_a_key(house: House, key: Any, alg: str) -> None:
    """backend_services_authorization: request_success and response_body"""
    import time

    house.clock.at = time.time_ns() // 1000  # Authlib's client signs with the real time
    await clients.add(house.store, "lab", scope="system/*.rs", jwks=PUBLIC)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # Authlib's own JOSE is deprecated; it stands here for a foreign client
        async with oauth_client(
            house,
            client_id="lab",
            client_secret=key,
            token_endpoint_auth_method="private_key_jwt",
        ) as client:
            client.register_client_auth_method(
                PrivateKeyJWT(
                    TOKEN,
                    {"exp": house.clock() // SECOND + 290},
                    alg=alg,
                    headers={"kid": key.kid, "typ": "JWT"},
                )
            )
            token = await client.fetch_token(TOKEN, grant_type="client_credentials", scope="system/*.rs")
    assert token["scope"] == "system/*.rs"
    assert token["expires_in"] == 300


async def test_the_answer_is_not_cached(house: House) -> None:
    await clients.add(house.store, "lab", scope="system/*.rs", jwks=PUBLIC)
    answer = await house.http.post("/oauth/token", data=form(house))
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-type"] == "application/json"


async def test_keys_by_address_and_rotation(house: House) -> None:
    address = "https://lab.example/jwks"
    await clients.add(house.store, "lab", scope="system/*.rs", jwks_uri=address)
    refused = await house.http.post("/oauth/token", data=form(house))
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    house.outside[address] = {"keys": [RSA.as_dict(private=False)]}
    by_rsa = assertion(house, RSA, "RS384", "rsa", jku=address)
    assert (
        await house.http.post("/oauth/token", data=form(house, client_assertion=by_rsa))
    ).status_code == 200
    house.outside[address] = PUBLIC
    house.clock.forward(11)
    before = len(house.asked_outside)
    rotated = form(house, client_assertion=assertion(house, jti="j2"))
    assert (await house.http.post("/oauth/token", data=rotated)).status_code == 200
    assert len(house.asked_outside) == before + 1
    unknown = form(house, client_assertion=assertion(house, kid="nobody", jti="j3"))
    for _ in range(3):
        assert (await house.http.post("/oauth/token", data=unknown)).status_code == 401
    assert len(house.asked_outside) == before + 1, "inventing key ids must not make the server call out"


async def test_an_assertion_serves_once(house: House) -> None:
    await clients.add(house.store, "lab", scope="system/*.rs", jwks=PUBLIC)
    fields = form(house)
    answers = [await house.http.post("/oauth/token", data=fields) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 401]
    assert answers[1].json() == {
        "error": "invalid_client",
        "error_description": "the client assertion was already used",
    }


CASES: dict[str, tuple[dict[str, Any], int, str]] = {
    "smart_backend_services_invalid_grant_type": ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    "grant type missing": ({"grant_type": None}, 400, "unsupported_grant_type"),
    "smart_backend_services_invalid_client_assertion": (
        {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
        401,
        "invalid_client",
    ),
    "client assertion type missing": ({"client_assertion_type": None}, 401, "invalid_client"),
    "smart_backend_services_invalid_jwt": ({"client_assertion": "no.jwt.here"}, 401, "invalid_client"),
    "not even a jwt": ({"client_assertion": "x"}, 401, "invalid_client"),
    "wrong key": ({"claims": {"key": OTHER}}, 401, "invalid_client"),
    "unknown kid": ({"claims": {"kid": "zz"}}, 401, "invalid_client"),
    "no kid among several keys": ({"claims": {"kid": None}}, 401, "invalid_client"),
    "wrong aud": ({"claims": {"aud": HERE + "/fhir"}}, 401, "invalid_client"),
    "aud list without us": ({"claims": {"aud": ["https://other"]}}, 401, "invalid_client"),
    "iss is another": ({"claims": {"iss": "x"}}, 401, "invalid_client"),
    "unknown client": ({"claims": {"iss": "x", "sub": "x"}}, 401, "invalid_client"),
    "expired": ({"claims": {"exp": 1_789_999_900}}, 401, "invalid_client"),
    "exp over five minutes": ({"claims": {"exp": 1_790_000_361}}, 401, "invalid_client"),
    "exp missing": ({"claims": {"exp": None}}, 401, "invalid_client"),
    "exp is text": ({"claims": {"exp": "soon"}}, 401, "invalid_client"),
    "issued in the future": ({"claims": {"iat": 1_790_000_100}}, 401, "invalid_client"),
    "jti missing": ({"claims": {"jti": None}}, 401, "invalid_client"),
    "jti too long": ({"claims": {"jti": "j" * 257}}, 401, "invalid_client"),
    "foreign jku": ({"claims": {"jku": "https://evil.example/jwks"}}, 401, "invalid_client"),
    "client_id differs": ({"client_id": "other"}, 401, "invalid_client"),
    "two ways at once": ({"client_secret": "x", "client_id": "lab"}, 400, "invalid_request"),
    "scope out of order": ({"scope": "system/Patient.sr"}, 400, "invalid_scope"),
    "user scope": ({"scope": "user/Patient.rs"}, 400, "invalid_scope"),
    "nothing granted": ({"scope": "system/Patient.c"}, 400, "invalid_scope"),
    "hostile scope": ({"scope": '\u0000é"\\'}, 400, "invalid_scope"),
}


@pytest.mark.parametrize("name", list(CASES))
async def test_refused(house: House, name: str) -> None:
    changes, status, error = CASES[name]
    await clients.add(house.store, "lab", scope="system/*.rs", jwks=PUBLIC)
    fields = dict(changes)
    claims = fields.pop("claims", None)
    if claims:
        fields["client_assertion"] = assertion(house, **claims)
    answer = await house.http.post("/oauth/token", data=form(house, **fields))
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in answer.headers) == (status == 401)
    good = form(house, client_assertion=assertion(house, jti="good"))
    assert (await house.http.post("/oauth/token", data=good)).status_code == 200


def basic(text: str | bytes) -> str:
    return "Basic " + base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        basic("dash:wrong"),
        basic("dash:"),
        basic("nobody:s"),
        basic("dash"),
        basic(":"),
        basic(b"\xff\xfe:\xff"),
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic a b",
        basic("dash:" + "x" * 5000),
        "basic",
    ],
)
async def test_basic_refused(house: House, authorization: str) -> None:
    await clients.add(house.store, "dash", scope="system/*.rs", secret="right-secret")
    answer = await house.http.post(
        "/oauth/token", data={"grant_type": "client_credentials"}, headers={"Authorization": authorization}
    )
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        (b"{}", "application/json", 415),
        (b"grant_type=a&grant_type=b", "application/x-www-form-urlencoded", 400),
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(101)), "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_unreadable_body(house: House, content: bytes, media: str, status: int) -> None:
    answer = await house.http.post("/oauth/token", content=content, headers={"content-type": media})
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")


async def test_a_secret_client_has_no_key_and_the_reverse(house: House) -> None:
    await clients.add(house.store, "lab", scope="system/*.rs", jwks=PUBLIC)
    answer = await house.http.post(
        "/oauth/token", data={"grant_type": "client_credentials", "client_id": "lab", "client_secret": "x"}
    )
    assert answer.status_code == 401
    await clients.add(house.store, "dash", scope="system/*.rs", secret="right-secret")
    signed = assertion(house, iss="dash", sub="dash")
    assert (
        await house.http.post("/oauth/token", data=form(house, client_assertion=signed))
    ).status_code == 401
