"""What a reader may not see changes no answer: by no chain, `_has`, include, compartment, list, text, filter,
count or order. Each search is asked twice, by a reader for whom some resources are hidden, and where those
were never stored: the answers are the same. FHIR R4 security.html"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from fhir_server.access import Access, Scope
from fhir_server.search.nodes import Node, Not, Token
from fhir_server.settings import Settings
from fhir_server.store import open_store
from tests.rest.search_world import WORLD
from tests.rest.serving import ALL, Served, make_engine, serve
from tests.rest.test_search_cases import INCLUDES, PREFIXES, TYPES_OF_VALUES, rows

HIDDEN = {"system": "urn:policy", "code": "hidden"}


@dataclass(frozen=True)
class Policy(Access):
    """Sees what is not tagged hidden."""

    def visible(self, type: str) -> Node:
        return Not(Token("_tag", (("urn:policy", "hidden"),)))


READER = Policy("Client/reader", (Scope("*", "rs"),), None)

MORE = [
    "Patient",
    "Observation?_sort=date",
    "Observation?_sort=-date,code&_count=2",
    "Observation?_sort=subject",
    "Observation?_count=0",
    "Observation?_summary=count&subject:Patient.gender=female",
    "Patient?_sort=family&_count=1",
    "?_type=Patient,Observation&_count=3",
    "?_type=Patient,Observation&_sort=-_id",
    "?_content=mesure",
    "?_list=list",
    "Patient/p1/Observation",
    "Patient/p1/*",
    "Patient/p2/*?_count=1",
    "Encounter/e1/*",
    "Practitioner/doc/*",
    "Patient?_filter=_has:Observation:patient:code eq 1-1",
    "Observation?_filter=subject.name sw lef or not (subject.gender eq male)",
    "Observation?_filter=subject[gender eq female].organization.name eq partie",
    "Observation?_filter=not (performer.name co med)",
    "Observation?subject:Patient.gender:not=male",
    "Observation?subject:Patient._content=lefevre",
    "Observation?subject:Patient._list=list",
    "Patient?_has:List:item:_id=list",
    "Location?near=43|1.5|500|km&_sort=_id",
]
SETS = [
    "Patient/p1",
    "Observation/o1 Observation/o2",
    "Organization/part Practitioner/doc",
    "List/list Encounter/e1 Questionnaire/q1 QuestionnaireResponse/qr2",
    "Patient/p2 Observation/o3 RiskAssessment/r2 Location/l1 ValueSet/v2 Organization/top",
]


def queries() -> list[str]:
    values = [row.split("  ")[0].strip() for row in rows(TYPES_OF_VALUES + PREFIXES)]
    return [*values, *(row.split("|")[0].strip() for row in rows(INCLUDES)), *MORE]


@asynccontextmanager
async def holding(folder: Path, resources: list[dict[str, Any]]) -> AsyncIterator[Served]:
    store = open_store(Settings(store=f"sqlite:///{folder}/t.db"))
    await store.open()
    try:
        served = serve(make_engine(folder, store))
        for resource in resources:
            await served.system.update(resource)
        yield served
    finally:
        await store.close()


async def answer(served: Served, access: Access, query: str) -> tuple[Any, ...]:
    """Status, total, and all matches and includes of all pages in their order."""
    client, found, total = served.client(access), [], None
    path, _, rest = query.partition("?")
    response = await client.get(f"/{path}", params=parse_qsl(rest, keep_blank_values=True))
    while response.status_code == 200:
        page = response.json()
        total = page.get("total", total)
        for entry in page.get("entry", ()):
            found.append(
                (entry["search"]["mode"], entry["resource"]["resourceType"], entry["resource"]["id"])
            )
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not following:
            return 200, total, found
        response = await client.get(following[0])
    return response.status_code, response.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("hidden", SETS)
async def test_hidden_is_as_never_stored(tmp_path: Path, hidden: str) -> None:
    names = set(hidden.split())
    with_tags = [
        {**r, "meta": {**r.get("meta", {}), "tag": [*r.get("meta", {}).get("tag", ()), HIDDEN]}}
        if f"{r['resourceType']}/{r['id']}" in names
        else r
        for r in WORLD
    ]
    without = [r for r in WORLD if f"{r['resourceType']}/{r['id']}" not in names]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    leaks, changed = {}, 0
    async with holding(tmp_path / "a", with_tags) as full, holding(tmp_path / "b", without) as bare:
        for query in queries():
            seen, control = await answer(full, READER, query), await answer(bare, ALL, query)
            if seen != control:
                leaks[query] = (seen, control)
            changed += seen != await answer(full, ALL, query)
    assert leaks == {}
    assert changed > 5  # the policy does hide something
