"""Introspection, revocation, keys and discovery. RFC 7662; RFC 7009; SMART App Launch 2.2 conformance.html"""

from __future__ import annotations

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from starlette.routing import Route

from smart_launch.authorization import clients, discovery, mint, server
from smart_launch.authorization.tokens import LIFETIME
from tests.smart_launch.conftest import HERE, House


async def token_of(house: House, client: str = "dash", scope: str = "system/*.rs") -> str:
    if await clients.get(house.store, client) is None:
        await clients.add(house.store, client, scope="system/*.cruds", secret="right-secret")
    return await mint(house.store, house.settings, client, scope, clock=house.clock)


async def test_introspection_tells_what_the_token_holds(house: House) -> None:
    token = await token_of(house)
    for proof in ({"auth": ("dash", "right-secret")}, {"headers": {"Authorization": f"Bearer {token}"}}):
        answer = await house.http.post("/oauth/introspect", data={"token": token}, **proof)  # type: ignore[arg-type]
        told = answer.json()
        assert answer.status_code == 200
        at = house.clock() // 1_000_000
        assert {key: told[key] for key in ("active", "scope", "client_id", "iss", "sub", "exp")} == {
            "active": True,
            "scope": "system/*.rs",
            "client_id": "dash",
            "iss": HERE,
            "sub": "Client/dash",
            "exp": at + LIFETIME,
        }


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
async def test_introspection_of_nothing(house: House, token: str) -> None:
    await token_of(house)
    answer = await house.http.post("/oauth/introspect", data={"token": token}, auth=("dash", "right-secret"))
    assert (answer.status_code, answer.json()) == (200, {"active": False})


@pytest.mark.parametrize("path", ["/oauth/introspect", "/oauth/revoke"])
async def test_only_for_known_clients(house: House, path: str) -> None:
    token = await token_of(house)
    for proof in ({}, {"auth": ("dash", "wrong")}, {"headers": {"Authorization": "Bearer x"}}):
        answer = await house.http.post(path, data={"token": token}, **proof)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert (
        await house.http.get("/fhir/Patient", headers={"Authorization": f"Bearer {token}"})
    ).status_code == 200


async def test_revocation(house: House) -> None:
    mine, other = await token_of(house), await token_of(house, "other")
    for token in (mine, other, "unknown"):
        answer = await house.http.post("/oauth/revoke", data={"token": token}, auth=("dash", "right-secret"))
        assert answer.status_code == 200
    statuses = [
        (await house.http.get("/fhir/Patient", headers={"Authorization": f"Bearer {token}"})).status_code
        for token in (mine, other)
    ]
    assert statuses == [401, 200]
    assert (
        await house.http.post("/oauth/revoke", data={"hint": "x"}, auth=("dash", "right-secret"))
    ).status_code == 400


async def test_the_published_keys_verify_a_token(house: House) -> None:
    token = await token_of(house)
    jwks = (await house.http.get("/oauth/jwks")).json()
    assert sorted((key["kty"], key["alg"], key["use"]) for key in jwks["keys"]) == [
        ("EC", "ES384", "sig"),
        ("RSA", "RS256", "sig"),
    ]
    assert not [name for key in jwks["keys"] for name in ("d", "p", "q", "dp", "dq", "qi") if name in key]
    assert len({key["kid"] for key in jwks["keys"]}) == 2
    decoded = jwt.decode(token, KeySet.import_key_set(jwks), algorithms=["RS256"])
    assert decoded.header["typ"] == "at+jwt"


async def test_smart_configuration(house: House) -> None:
    """well_known_endpoint, well_known_capabilities_stu2"""
    answer = await house.http.get(
        "/fhir/.well-known/smart-configuration", headers={"Accept": "application/fhir+json"}
    )
    said = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert said["token_endpoint"] == HERE + "/oauth/token"
    assert said["grant_types_supported"] == ["client_credentials"]
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    assert said["capabilities"] == [
        "client-confidential-asymmetric",
        "client-confidential-symmetric",
        "permission-v1",
        "permission-v2",
    ]
    assert "authorization_endpoint" not in said, "no promise that is not there"
    openid = (await house.http.get("/.well-known/openid-configuration")).json()
    assert (openid["issuer"], openid["jwks_uri"]) == (HERE, HERE + "/oauth/jwks")


def test_every_promised_endpoint_is_routed(house: House) -> None:
    from smart_launch import authorization

    routed = {
        route.path
        for route in authorization.routes(house.store, house.settings, house.keys, house.http)
        if isinstance(route, Route)
    }
    assert set(discovery.ENDPOINTS.values()) < routed
    assert set(discovery.CAPABILITIES) == {grant.GRANT_TYPE for grant in server.GRANTS}
