"""Who reaches a handler, with which Access; everyone else is answered at the door."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.responses import Response

from fhir_server.access import Access
from profiles import xml
from smart_launch.authorization import clients, mint, tokens
from smart_launch.authorization.keys import Signing
from smart_launch.guard import dialect, is_open
from smart_launch.signin import local
from tests.smart_launch.conftest import HERE, OWN, House

PAGE = {"Accept": "text/html,application/xhtml+xml"}


async def machine(house: House, scope: str = "system/*.rs") -> dict[str, str]:
    await clients.add(house.store, "dash", scope="system/*.cruds", secret="right-secret")
    return {
        "Authorization": "Bearer " + await mint(house.store, house.settings, "dash", scope, clock=house.clock)
    }


async def person(house: House) -> str:
    await local.create_account(house.store, "p08", "p08", None)
    value = await house.sessions.open("p08", "p08", "test")
    house.http.cookies.set("teledossier", value, domain="127.0.0.1")
    return value


@pytest.mark.parametrize(
    ("path", "open_"),
    [
        ("/healthz", True),
        ("/readyz", True),
        ("/metrics", True),
        ("/fhir/metadata", True),
        ("/connexion", True),
        ("/fhir/.well-known/smart-configuration", True),
        ("/.well-known/openid-configuration", True),
        ("/oauth/token", True),
        ("/launch", True),
        ("/launch/callback", True),
        ("/static/style.css", True),
        ("/", False),
        ("/fhir", False),
        ("/fhir/Patient", False),
        ("/fhir/metadata/x", False),
        ("/launchpad", False),
        ("/dicom-web/studies", False),
        ("/session", False),
        ("/healthz/", False),
        ("/oauth", False),
        ("/fhir/Patient/.well-known/x", False),
        ("//fhir/metadata", False),
        ("/staticx", False),
        ("/FHIR/metadata", False),
        ("/connexion/../fhir/Patient", False),
    ],
)
async def test_open_paths(house: House, path: str, open_: bool) -> None:
    assert is_open(path) is open_
    answer = await house.http.get(HERE + path)
    assert (answer.status_code == 401) is not open_


@pytest.mark.parametrize(
    ("path", "kind", "media"),
    [
        ("/fhir/Patient", "fhir", "application/fhir+json"),
        ("/fhir", "fhir", "application/fhir+json"),
        ("/dicom-web/studies", "dicom", "text/plain; charset=utf-8"),
        ("/dossiers", "page", "text/plain; charset=utf-8"),
    ],
)
async def test_refused_in_the_dialect_of_the_path(house: House, path: str, kind: str, media: str) -> None:
    assert dialect(path) == kind
    answer = await house.http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (401, media)
    assert answer.headers["www-authenticate"] == 'Bearer realm="teledossier"'
    if kind == "fhir":
        issue = answer.json()["issue"][0]
        assert (answer.json()["resourceType"], issue["code"]) == ("OperationOutcome", "login")
        in_xml = await house.http.get(path, headers={"Accept": "application/fhir+xml"})
        assert xml.parse(in_xml.content)["issue"][0]["code"] == "login"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/", "/connexion?suite=/"),
        ("/dossiers", "/connexion?suite=/dossiers"),
        ("/dossiers?etat=lu&p=2", "/connexion?suite=/dossiers%3Fetat%3Dlu%26p%3D2"),
    ],
)
async def test_a_browser_is_sent_to_sign_in(house: House, path: str, target: str) -> None:
    answer = await house.http.get(path, headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, target)
    assert (await house.http.post(path, headers=PAGE)).status_code == 401
    assert (await house.http.get("/fhir/Patient", headers=PAGE)).status_code == 401


async def test_a_token_gives_its_scopes(house: House) -> None:
    headers = await machine(house, "system/Patient.rs system/Binary.c")
    seen = (await house.http.post("/dicom-web/studies", headers=headers)).json()
    assert seen == {
        "subject": "Client/dash",
        "scopes": ["Patient.rs", "Binary.c"],
        "audience": None,
        "session": None,
    }


async def test_a_token_ends(house: House) -> None:
    headers = await machine(house)
    assert (await house.http.get("/fhir/Patient", headers=headers)).status_code == 200
    house.clock.forward(tokens.LIFETIME)
    answer = await house.http.get("/fhir/Patient", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="teledossier", error="invalid_token"'


async def test_figures_are_open_and_a_token_there_is_looked_at(house: House) -> None:
    headers = await machine(house, "system/Endpoint.s")
    assert (await house.http.get("/metrics", headers=headers)).json()["scopes"] == ["Endpoint.s"]
    for authorization in ("Bearer x", "Basic eDp4"):
        refused = await house.http.get("/metrics", headers={"Authorization": authorization})
        assert refused.status_code == 401


async def test_a_removed_client_is_out_at_once(house: House) -> None:
    headers = await machine(house)
    assert (await house.http.get("/fhir/Patient", headers=headers)).status_code == 200
    await clients.remove(house.store, "dash")
    assert (await house.http.get("/fhir/Patient", headers=headers)).status_code == 401


def forged(house: House, signing: Signing, **how: Any) -> str:
    """A token that is good but for one thing."""
    claims = tokens.claims(house.settings, "dash", "system/*.rs", house.clock() // 1_000_000)
    claims = {key: value for key, value in {**claims, **how.get("claims", {})}.items() if value is not None}
    if "key" in how:
        alg = how.get("alg", "RS256")
        return jwt.encode(
            {"alg": alg, "typ": tokens.TYPE, **how.get("header", {})}, claims, how["key"], algorithms=[alg]
        )
    return signing.sign(claims, algorithm=how.get("alg", "RS256"), type=how.get("type", tokens.TYPE))


STRANGER = RSAKey.generate_key(2048, private=True)
FORGERIES: dict[str, dict[str, Any]] = {
    "other issuer": {"claims": {"iss": "https://other"}},
    "other audience": {"claims": {"aud": HERE}},
    "no audience": {"claims": {"aud": None}},
    "no exp": {"claims": {"exp": None}},
    "expired": {"claims": {"exp": 1_789_999_999}},
    "not yet": {"claims": {"nbf": 1_790_000_500}},
    "an id token": {"type": "JWT"},
    "no scope": {"claims": {"scope": None}},
    "scope unknown": {"claims": {"scope": "everything"}},
    "scope is a list": {"claims": {"scope": ["system/*.rs"]}},
    "no jti": {"claims": {"jti": None}},
    "unknown client": {"claims": {"client_id": "ghost"}},
    "stranger's key": {"key": STRANGER},
    "stranger's key under our kid": {"key": STRANGER, "header": {"kid": "OURS"}},
    "HS256 with our public key": {"key": "PUBLIC", "alg": "HS256", "header": {"kid": "OURS"}},
}


@pytest.mark.parametrize("name", list(FORGERIES))
async def test_forged_tokens(house: House, signing: Signing, name: str) -> None:
    await machine(house)
    how = {**FORGERIES[name]}
    ours = signing.keys.keys[0]
    if how.get("key") == "PUBLIC":
        how["key"] = OctKey.import_key(str(ours.as_dict(private=False)["n"]))
    if how.get("header", {}).get("kid") == "OURS":
        how["header"] = {"kid": ours.kid}
    answer = await house.http.get(
        "/fhir/Patient", headers={"Authorization": "Bearer " + forged(house, signing, **how)}
    )
    assert answer.status_code == 401
    good = {"Authorization": "Bearer " + forged(house, signing)}
    assert (await house.http.get("/fhir/Patient", headers=good)).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.e30.",
        "Basic ZGFzaDpy",
        "x",
        "Bearer a.b.c.d.e",
        "Bearer " + "A" * 9000,
        "Bearer é.é.é",
        "Negotiate x",
    ],
)
async def test_unreadable_authorization(house: House, authorization: str) -> None:
    value = authorization.encode("latin-1")
    answer = await house.http.get("/fhir/Patient", headers={b"Authorization": value})  # type: ignore[arg-type]
    assert answer.status_code == 401


async def test_a_bad_token_is_not_saved_by_a_good_cookie(house: House) -> None:
    await person(house)
    assert (await house.http.get("/fhir/Patient", headers={"Authorization": "Bearer x"})).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": HERE}, 200),
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": HERE + ".evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": HERE}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_cookie_needs_proof_of_origin(
    house: House, method: str, headers: dict[str, str], status: int
) -> None:
    await person(house)
    for path in ("/fhir/ServiceRequest", "/dossiers"):
        assert (await house.http.request(method, path, headers=headers)).status_code == status
        assert (await house.http.get(path, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "admitted"),
    [
        ({"Origin": HERE}, True), ({"Sec-Fetch-Site": "same-origin"}, True), ({}, False),
        ({"Origin": "https://evil.example"}, False), ({"Origin": HERE, "Sec-Fetch-Site": "cross-site"},
        False),
    ],
)  # fmt: skip
async def test_a_cookie_opens_no_web_socket_for_a_page_from_elsewhere(
    house: House, headers: dict[str, str], admitted: bool
) -> None:
    given = {"cookie": f"teledossier={await person(house)}", **headers}
    met: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        met.append(scope["access"].subject)

    async def send(message: Any) -> None:
        met.append(message.get("status"))

    house.guard._app = app
    scope = {
        "type": "websocket", "path": "/dicom-web/subscribers/W", "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip
    await house.guard(scope, None, send)  # type: ignore[arg-type]
    assert met == (["Practitioner/p08"] if admitted else [403, None])


async def test_a_token_needs_no_proof_of_origin(house: House) -> None:
    headers = await machine(house)
    answer = await house.http.post("/fhir/Patient", headers={**headers, "Origin": "https://evil.example"})
    assert answer.status_code == 200


async def test_an_audience_follows_what_is_written(house: House) -> None:
    await person(house)
    house.audiences["p08"] = frozenset({"Organization/a"})
    first = (await house.http.get("/fhir/Task")).json()["audience"]
    house.audiences["p08"] = frozenset({"Organization/b"})
    same = (await house.http.get("/fhir/Task")).json()["audience"]
    house.store.seq += 1
    after = (await house.http.get("/fhir/Task")).json()["audience"]
    assert (first, same, after) == (
        ["Organization/a", "Practitioner/p08"],
        ["Organization/a", "Practitioner/p08"],
        ["Organization/b", "Practitioner/p08"],
    )


@pytest.mark.parametrize(
    ("path", "host", "headers", "method", "status"),
    [
        ("/fhir/Patient", "127.0.0.1:8080", {}, "POST", 200),
        ("/dicom-web/studies", "localhost:8080", {}, "GET", 200),
        ("/fhir/Patient", "evil.example:8080", {}, "GET", 401),
        ("/fhir/Patient", "127.0.0.1:8080", {"Origin": "https://evil.example"}, "POST", 401),
        ("/fhir/Patient", "127.0.0.1:8080", {"Sec-Fetch-Site": "cross-site"}, "DELETE", 401),
        ("/fhir/Patient", "127.0.0.1:8080", {"Authorization": "Bearer x"}, "GET", 401),
        ("/dossiers", "127.0.0.1:8080", {}, "GET", 401),
    ],
)
async def test_open_mode(
    open_house: House, path: str, host: str, headers: dict[str, str], method: str, status: int
) -> None:
    answer = await open_house.http.request(method, path, headers={**headers, "Host": host})
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {
            "subject": "System",
            "scopes": ["*.cruds"],
            "audience": None,
            "session": None,
        }


async def test_open_mode_serves_this_machine_only(open_house: House) -> None:
    seen: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            seen.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    for peer in ("127.0.0.1", "192.0.2.7"):
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/fhir/Patient",
            "query_string": b"",
            "scheme": "http",
            "headers": [(b"host", b"127.0.0.1:8080")],
            "client": (peer, 1),
            "server": ("127.0.0.1", 8080),
            "http_version": "1.1",
            "root_path": "",
            "raw_path": b"/fhir/Patient",
        }
        await open_house.guard(scope, receive, send)
    assert seen == [200, 401]


@pytest.mark.parametrize(
    ("path", "origin", "allowed"),
    [
        ("/fhir/.well-known/smart-configuration", "https://any.example", "*"),
        ("/fhir/metadata", "https://any.example", "*"),
        ("/oauth/jwks", "https://any.example", "*"),
        ("/.well-known/openid-configuration", "https://any.example", "*"),
        ("/oauth/token", "https://app.example", "https://app.example"),
        ("/oauth/token", "https://any.example", None),
        ("/fhir/Patient", "https://app.example", "https://app.example"),
        ("/fhir/Patient", "https://any.example", None),
        ("/dicom-web/studies", "https://app.example", "https://app.example"),
        ("/dossiers", "https://app.example", None),
        ("/connexion", "https://app.example", None),
    ],
)
async def test_cors(house: House, path: str, origin: str, allowed: str | None) -> None:
    """smart_cors_well_known_endpoint, smart_cors_metadata_request, smart_cors_token_exchange"""
    await clients.add(house.store, "app", scope="system/*.rs", origins=("https://app.example",))
    answer = await house.http.get(path, headers={"Origin": origin})
    assert answer.headers.get("access-control-allow-origin") == allowed
    assert "access-control-allow-credentials" not in answer.headers
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    preflight = await house.http.options(path, headers=asked)
    assert preflight.headers.get("access-control-allow-origin") == allowed
    if allowed:
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-headers"] == "authorization"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("http://localhost:3000", True), ("http://127.0.0.1:3000", True), ("https://any.example", False),
     ("http://localhost.any.example", False), ("null", False)],
)  # fmt: skip
async def test_cors_in_open_mode_is_for_pages_of_this_machine(
    open_house: House, origin: str, allowed: bool
) -> None:
    answer = await open_house.http.get("/dicom-web/studies", headers={"Origin": origin})
    assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
    if allowed:
        assert "Content-Range" in answer.headers["access-control-expose-headers"]


async def test_two_processes_agree_on_the_keys(house: House) -> None:
    from smart_launch.authorization.keys import Keys

    await house.store.delete_record("signing-keys", "current")
    one, two = await Keys(house.store, house.clock).load(), await Keys(house.store, house.clock).load()
    assert one.jwks() == two.jwks()


async def test_the_guard_is_fast(house: House) -> None:
    """Well under a millisecond beside the store's own time; the bound is loose for slow machines."""
    headers = await machine(house)
    await person(house)
    for chosen in (headers, OWN):
        raw = [
            (b"host", b"127.0.0.1:8080"),
            (b"cookie", b"teledossier=" + house.http.cookies["teledossier"].encode()),
        ]
        raw += [(key.lower().encode(), value.encode()) for key, value in chosen.items()]

        async def nothing(scope: Any, receive: Any, send: Any) -> None:
            assert scope["access"] is not None

        house.guard._app = nothing
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/fhir/Patient",
            "query_string": b"",
            "headers": raw,
            "client": ("127.0.0.1", 1),
        }
        await house.guard(dict(scope), None, None)  # type: ignore[arg-type]
        start = time.perf_counter()
        for _ in range(200):
            await house.guard(dict(scope), None, None)  # type: ignore[arg-type]
        assert (time.perf_counter() - start) / 200 < 0.005


async def opened(house: House, headers: dict[str, str]) -> Callable[[], Awaitable[Access | None]]:
    """A WebSocket that this guard admits: what it gives the handler to ask again."""
    met: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        met.append(scope["still"])

    house.guard._app = app
    given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    path = "/dicom-web/subscribers/W"
    scope = {"type": "websocket", "path": path, "query_string": b"", "headers": given}
    await house.guard(scope, None, None)  # type: ignore[arg-type]
    (still,) = met
    return still  # type: ignore[no-any-return]


@pytest.mark.parametrize("end", ["left", "disabled", "idle", "gone"])
async def test_a_socket_lasts_as_long_as_its_session(house: House, end: str) -> None:
    """And does not keep it alive."""
    value = await person(house)
    house.audiences["p08"] = frozenset({"Organization/a"})
    still = await opened(house, {"cookie": f"teledossier={value}", "origin": HERE})
    before = await still()
    assert before is not None
    assert before.audience == {"Organization/a", "Practitioner/p08"}
    house.audiences["p08"], house.store.seq = frozenset(), house.store.seq + 1
    after = await still()
    assert after is not None
    assert after.audience == {"Practitioner/p08"}
    if end == "left":
        await house.sessions.end(value)
    elif end == "disabled":
        await local.set_disabled(house.store, "p08", True)
    elif end == "gone":
        await house.store.delete_record("account", "p08")
    else:
        for _ in range(30):
            house.clock.forward(61)
            await still()
    assert await still() is None


async def test_a_socket_lasts_as_long_as_its_token(house: House) -> None:
    headers = await machine(house, "system/Task.r")
    still = await opened(house, headers)
    before = await still()
    assert before is not None
    assert before.allows("Task", "r")
    house.clock.forward(tokens.LIFETIME)
    assert await still() is None
    still = await opened(house, await machine_again(house))
    await clients.remove(house.store, "dash")
    assert await still() is None


async def machine_again(house: House) -> dict[str, str]:
    token = await mint(house.store, house.settings, "dash", "system/Task.r", clock=house.clock)
    return {"Authorization": "Bearer " + token}


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({}, {"cache-control": "private, no-cache", "x-content-type-options": "nosniff"}),
        ({"Cache-Control": "private, max-age=3600"}, {"cache-control": "private, max-age=3600"}),
        ({"X-Content-Type-Options": "other"}, {"x-content-type-options": "other"}),
    ],
)
async def test_what_is_for_one_reader_is_private(
    house: House, said: dict[str, str], kept: dict[str, str]
) -> None:
    """On every address behind the guard; what a room says of itself stays, once."""
    house.guard._app = Response("x", headers=said)
    await person(house)
    for path in ("/fhir/Patient", "/dicom-web/studies", "/dossiers", "/gateway/errands"):
        answer = await house.http.get(path)
        for name, value in kept.items():
            assert answer.headers.get_list(name) == [value], path
    assert ("cache-control" in (await house.http.get("/healthz")).headers) is bool(said.get("Cache-Control"))
