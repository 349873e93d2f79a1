"""Registering, listing and removing clients."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc.jwk import ECKey

from profiles.outcomes import Conflict, Invalid, NotFound
from smart_launch.authorization import clients
from tests.smart_launch.conftest import House

KEY = ECKey.generate_key("P-384", {"kid": "k1"}, private=True)


async def test_secret_is_shown_once(house: House) -> None:
    client, secret = await clients.add(house.store, "reporting", scope="system/*.rs", name="Tableau de bord")
    assert secret is not None
    assert len(secret) >= 40
    stored = await house.store.get_record("client", "reporting")
    assert secret not in str(stored)
    assert stored["secret_hash"].startswith("$argon2id$")
    assert await clients.get(house.store, "reporting") == client
    assert [one.id for one in await clients.list_all(house.store)] == ["reporting"]
    await clients.remove(house.store, "reporting")
    assert await clients.list_all(house.store) == []
    with pytest.raises(NotFound):
        await clients.remove(house.store, "reporting")


async def test_id_is_taken(house: House) -> None:
    await clients.add(house.store, "a", scope="system/*.rs")
    with pytest.raises(Conflict):
        await clients.add(house.store, "a", scope="system/*.rs")


@pytest.mark.parametrize(
    ("id", "slug", "options"),
    [
        ("", "client-id", {}),
        ("a b", "client-id", {}),
        ("../x", "client-id", {}),
        ("x" * 65, "client-id", {}),
        ("a", "client-scope", {"scope": "system/*.sdurc"}),
        ("a", "client-scope", {"scope": "user/*.rs"}),
        ("a", "client-scope", {"scope": ""}),
        ("a", "client-jwks", {"jwks": {"keys": []}}),
        ("a", "client-jwks", {"jwks": {"keys": [{"kty": "EC"}]}}),
        ("a", "client-jwks", {"jwks": {"keys": [KEY.as_dict(private=True)]}}),
        ("a", "client-jwks", {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}),
        ("a", "client-jwks", {"jwks": {"keys": "x"}}),
        ("a", "client-jwks-uri", {"jwks_uri": "http://example.org/jwks"}),
        ("a", "client-jwks-uri", {"jwks_uri": "file:///etc/passwd"}),
        ("a", "client-credentials", {"jwks": {"keys": []}, "jwks_uri": "https://example.org/jwks"}),
        ("a", "client-credentials", {"jwks_uri": "https://example.org/jwks", "secret": "s"}),
        ("a", "client-origin", {"origins": ("https://example.org/app",)}),
    ],
)
async def test_refused(house: House, id: str, slug: str, options: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        await clients.add(house.store, id, **{"scope": "system/*.rs", **options})
    assert refused.value.slug == slug
    assert await clients.list_all(house.store) == []
