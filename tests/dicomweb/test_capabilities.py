"""The capabilities document says what is registered, no more and no less. PS3.18 §8.9"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from starlette.routing import Route

from dicomweb.conformance import statement
from dicomweb.images import Images
from dicomweb.routes import routes
from tests.dicomweb.conftest import Client

SPACE = "{http://wadl.dev.java.net/2009/02}"


async def test_every_route_and_no_other(client: Client, images: Images) -> None:
    expected = {
        (route.path.removeprefix("/dicom-web").replace(":path", ""), method)
        for route in routes(images)
        if isinstance(route, Route) and route.path not in ("/dicom-web", "/dicom-web/")
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}
    }
    answer = await client.options("")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/vnd.sun.wadl+xml")
    root = ET.fromstring(answer.content)
    found = {
        ("/" + resource.get("path", ""), method.get("name"))
        for resource in root.iter(f"{SPACE}resource")
        for method in resource.iter(f"{SPACE}method")
    }
    assert found == expected
    assert len(found) == 43
    as_json = (await client.get("", headers={"Accept": "application/json"})).json()
    assert {(one["path"], one["method"]) for one in as_json["resources"]} == expected
    assert all(one["answers"] for one in as_json["resources"] if one["method"] == "GET")


async def test_other_methods_are_405(client: Client) -> None:
    answer = await client.put("studies")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].replace(" ", "").split(",")) >= {"GET"}


def test_the_conformance_statement_in_docs_is_true() -> None:
    """`python -m dicomweb.conformance > docs/conformance.md` after a change."""
    page = Path(__file__).parents[2] / "docs" / "conformance.md"
    assert page.read_text("utf-8") == statement()
