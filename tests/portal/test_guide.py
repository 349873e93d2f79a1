"""The guide's pages: one for each definition and example, sound, light, led to and leading on, without a
script; the same definitions as FHIR, and the package file."""

from __future__ import annotations

import asyncio
import io
import re
import tarfile
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from profiles import packages
from profiles.packages.making import archive, examples
from smart_launch import guard
from smart_launch.app.guide import artefacts, pages, structures
from smart_launch.app.rendering import STATIC
from smart_launch.app.routes import Static, nowhere
from tests.portal.test_markup import faults

HEAVIEST = 48_000
"""Bytes of a page: a workflow's table with its JSON."""
PAGES = [
    "/guide",
    *(one.address for one in artefacts.all_of_them().values()),
    *(f"/guide/exemples/{one.profile}/{one.name}" for one in (*examples.valid(), *examples.invalid())),
]


class Client:
    """Asks the guide's pages as a browser would."""

    def __init__(self) -> None:
        static = Mount("/static", Static(directory=STATIC))
        self._app = Starlette(routes=[*pages.routes(), static, Route("/{path:path}", nowhere)])

    def get(self, address: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return asyncio.run(self._get(address, headers))

    async def _get(self, address: str, headers: dict[str, str] | None) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://guide") as http:
            return await http.get(address, headers=headers)


@pytest.fixture(scope="module")
def client() -> Client:
    return Client()


def test_there_is_a_page_for_everything() -> None:
    assert len(PAGES) == 1 + len(packages.resources()) + len(list(examples.valid())) + len(
        list(examples.invalid())
    )


@pytest.mark.parametrize("address", PAGES)
def test_a_page_is_sound_and_light(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200
    assert faults(answer.text) == []
    assert "<script" not in answer.text
    assert "None" not in answer.text
    assert len(answer.content) < HEAVIEST
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_every_link_leads_somewhere(client: Client) -> None:
    """Within the guide, with its fragment; every page is reached from the index."""
    seen: dict[str, str] = {}
    waiting = ["/guide"]
    while waiting:
        address = waiting.pop()
        if address not in seen:
            answer = client.get(address)
            assert answer.status_code == 200, address
            seen[address] = answer.text
            links = set(re.findall(r'href="(/guide[^"#]*|#[^"]*)', answer.text))
            waiting += [one for one in links if not one.startswith("#")]
    for address, text in seen.items():
        for page, fragment in re.findall(r'href="(/guide[^"#]*)?#([^"]+)"', text):
            assert f'id="{fragment}"' in seen[page or address], (address, page, fragment)
    own = {one for one in PAGES if one != "/guide/ImplementationGuide/teledossier"}
    assert own <= set(seen)


def test_a_definition_is_there_as_fhir(client: Client) -> None:
    for resource in packages.resources():
        answer = client.get(f"/guide/{resource['resourceType']}/{resource['id']}.json")
        assert answer.headers["content-type"].startswith("application/fhir+json")
        assert answer.json() == resource


def test_an_example_is_there_as_fhir(client: Client) -> None:
    for one in examples.invalid():
        assert client.get(f"/guide/exemples/{one.profile}/{one.name}.json").json() == one.resource


def test_the_package_file_is_the_one_that_is_built(client: Client) -> None:
    answer = client.get("/guide/teledossier.fhir-1.0.0.tgz")
    assert answer.headers["content-type"] == "application/gzip"
    assert answer.content == archive.build()
    with tarfile.open(fileobj=io.BytesIO(answer.content), mode="r:gz") as file:
        assert "package/package.json" in file.getnames()


def test_a_page_that_is_known_is_not_sent_again(client: Client) -> None:
    etag = client.get("/guide").headers["etag"]
    assert client.get("/guide", headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize(
    "address",
    [
        "/guide/CodeSystem/nonesuch",
        "/guide/StructureDefinition/..%2f..%2fetc",
        "/guide/exemples/teledossier-task/nonesuch",
        "/guide/exemples/nonesuch/valide",
        "/guide/<b>/x.json",
    ],
)
def test_what_is_not_there_is_a_french_page(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert "<h1" in answer.text
    assert "<b>" not in answer.text


@pytest.mark.parametrize(
    ("path", "is_open"), [("/guide", True), ("/guide/CodeSystem/step", True), ("/guides", False)]
)
def test_the_guide_asks_for_no_sign_in(path: str, is_open: bool) -> None:
    assert guard.is_open(path) == is_open


def test_the_rows_of_a_profile() -> None:
    """Name, effective cardinality, whether the profile sets it, what is asked."""
    task = artefacts.all_of_them()["StructureDefinition/teledossier-task"].resource
    rows = {f"{one.name}:{one.slice}" if one.slice else one.name: one for one in structures.rows(task)}
    owner, status, mark = rows["owner"], rows["status"], rows["extension:read-mark"]
    order = list(rows)
    assert order[order.index("owner") + 1 : order.index("owner") + 3] == ["output", "type"]
    assert (rows["output"].depth, rows["output"].narrowed) == (0, False)
    assert (owner.card, owner.narrowed, [one.words for one in owner.types]) == (
        "1..1", True, ["Organization", "PractitionerRole"],
    )  # fmt: skip
    assert (status.card, status.narrowed) == ("1..1", False)
    assert (mark.depth, mark.card, mark.types[0].address) == (
        0,
        "0..1",
        "/guide/StructureDefinition/read-mark",
    )
    assert rows["code"].value == "task#respond"
    assert rows["businessStatus"].value_set is not None
    assert rows["businessStatus"].strength == "required"


def test_no_french_is_missing_where_the_pages_show_words() -> None:
    for one in artefacts.all_of_them().values():
        assert one.title, one.key
    assert Path(STATIC, "guide.css").stat().st_size < 10_000
