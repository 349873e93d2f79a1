"""The gateway's token: what is no token, a key that goes away while it runs, clocks that differ."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from dicomweb.gateway.platform import Platform
from dicomweb.gateway.settings import GatewaySettings
from dicomweb.peers.session import PeerError
from tests.dicomweb.gateway.test_lanes import Reply, Stub, stub

__all__ = ["stub"]
HOUR = 3600.0


@pytest.fixture
def key(tmp_path: Path) -> Path:
    made = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, private=True, auto_kid=True)
    path = tmp_path / "key"
    path.write_text(json.dumps(made.as_dict(private=True)))
    return path


@pytest.fixture
def platform(stub: Stub, key: Path) -> Iterator[Platform]:
    made = Platform(GatewaySettings(platform=stub.url, client="c", key_file=str(key)))
    yield made
    made.close()


def failure(platform: Platform) -> str:
    with pytest.raises(PeerError) as raised:
        platform.token()
    return raised.value.slug


@pytest.mark.parametrize(
    "told",
    [
        "token", [], None, {}, {"access_token": 7}, {"access_token": ""}, {"access_token": "a b"},
        {"access_token": "a\r\nX: y"}, {"access_token": "é"}, {"access_token": "a", "expires_in": "soon"},
        {"access_token": "a", "expires_in": -1}, {"access_token": "a", "expires_in": float("nan")},
        {"access_token": "a", "expires_in": None}, {"access_token": "a", "expires_in": 1e300},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_token(stub: Stub, platform: Platform, told: Any) -> None:
    stub.grant = lambda _form: (200, told)
    assert failure(platform) == "bad-answer"
    stub.grant = None
    assert platform.token() == "token-2"


def test_an_endless_answer_is_given_up(stub: Stub, platform: Platform) -> None:
    stub.grant = lambda _form: (200, {"access_token": "a" * 5_000_000})
    assert failure(platform) == "bad-answer"


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"no key"])
def test_a_key_that_goes_away_is_named_until_it_is_back(
    stub: Stub, platform: Platform, key: Path, content: bytes | None
) -> None:
    kept = key.read_bytes()
    key.unlink()
    if content is not None:
        key.write_bytes(content)
    assert failure(platform) == "bad-key"
    key.write_bytes(kept)
    assert platform.token() == "token-1"


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"\xff"])
def test_a_secret_that_goes_away_is_named(stub: Stub, tmp_path: Path, content: bytes | None) -> None:
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    platform = Platform(GatewaySettings(platform=stub.url, client="c", secret_file=str(secret)))
    assert failure(platform) == "bad-key"
    platform.close()


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, 30 * 365 * 24 * HOUR])
def test_an_assertion_is_dated_by_the_platforms_clock(
    stub: Stub, platform: Platform, key: Path, ahead: float
) -> None:
    """Ours is an hour or decades off: the first is refused and says why, the next is good."""
    public = ECKey.import_key(json.loads(key.read_text()))

    def judged(form: dict[str, list[str]]) -> Reply:
        claims = jwt.decode(form["client_assertion"][0], public, algorithms=["ES384"]).claims
        at = time.time() + ahead
        is_good = at - 60 < claims["iat"] <= at + 5 and at < claims["exp"] <= at + 300
        return (200, {"access_token": "good"}) if is_good else (400, {"error": "invalid_client"})

    stub.ahead, stub.grant = ahead, judged
    assert failure(platform) == "clock-wrong"
    assert platform.token() == "good"
    stub.ahead = 0  # somebody put it right
    stub.grant = lambda _form: (401, {})
    platform.forget("good")
    assert failure(platform) == "access-refused"
