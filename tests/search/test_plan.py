"""From a query to a page, on a store: paging both ways, totals, includes, and one reader's view of it all."""

import asyncio
import base64
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fhir_server.access import SYSTEM, Access, Scope
from fhir_server.search import include
from fhir_server.search.index import extract
from fhir_server.search.plan import Result, plan, run
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Put, Store
from profiles.outcomes import Invalid, NotFound

BASE = "https://here.example/fhir"
PARIS = ZoneInfo("Europe/Paris")
AUDIENCE = "https://teledossier.example/fhir/StructureDefinition/audience"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_store(Settings(store=f"sqlite:///{tmp_path / 'store.db'}"))
    await opened.open()
    yield opened
    await opened.close()


async def save(store: Store, *resources: dict[str, Any]) -> None:
    await store.commit(
        [
            Put(
                each["resourceType"],
                each["id"],
                0,
                0,
                "create",
                orjson.dumps(each),
                extract(each, BASE, PARIS),
            )
            for each in resources
        ]
    )


async def search(store: Store, query: str, access: Access = SYSTEM) -> Result:
    type, _, rest = query.partition("?")
    pairs = parse_qsl(rest, keep_blank_values=True)
    return await run(store, plan(type, pairs, access, fhir_base=BASE, zone=PARIS), access)


async def found(store: Store, query: str, access: Access = SYSTEM) -> tuple[list[str], list[str], int | None]:
    result = await search(store, query, access)
    return (
        [each.id for each in result.matches],
        sorted(f"{each.type}/{each.id}" for each in result.included),
        result.total,
    )


def patient(id: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, **more}


def request(id: str, subject: str, *audience: str) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "id": id,
        "status": "active",
        "intent": "order",
        "subject": {"reference": f"Patient/{subject}"},
        "extension": [{"url": AUDIENCE, "valueReference": {"reference": who}} for who in audience],
    }


def task(id: str, focus: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Task", "id": id, "focus": {"reference": f"ServiceRequest/{focus}"}, **more}


async def pages(store: Store, query: str, relation: str = "next") -> list[list[str]]:
    """The ids of each page from this one on."""
    type = query.partition("?")[0]
    every = []
    while True:
        result = await search(store, query)
        every.append([each.id for each in result.matches])
        if relation not in result.links:
            return every
        query = f"{type}?{result.links[relation]}"


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("", "gfedcba"),
        ("&_sort=family", "bdfaceg"),
        ("&_sort=-family", "ecafdbg"),
        ("&_sort=birthdate,-_id", "fbagedc"),
        ("&_sort=-_id", "gfedcba"),
        ("&_sort=_lastUpdated", "abcdefg"),
    ],
)
async def test_pages_forth_and_back(store: Store, sort: str, order: str) -> None:
    families = dict(zip("abcdef", ["M", "Ab", "ñ", "b", "Z", "é"], strict=True))
    births = {"f": "1950", "b": "1950-06-01", "a": "2000"}
    for id in "abcdefg":
        more: dict[str, Any] = {"name": [{"family": families[id]}]} if id in families else {}
        await save(store, patient(id, **more, **({"birthDate": births[id]} if id in births else {})))
    forth = await pages(store, f"Patient?_count=3{sort}")
    assert forth == [list(order[:3]), list(order[3:6]), list(order[6:])]
    first = await search(store, f"Patient?_count=3{sort}")
    second = await search(store, f"Patient?{first.links['next']}")
    third = await search(store, f"Patient?{second.links['next']}")
    assert first.links.keys() == {"self", "next"}
    assert second.links.keys() == {"self", "next", "prev"}
    assert third.links.keys() == {"self", "prev"}
    assert await pages(store, f"Patient?{third.links['prev']}", "prev") == [list(order[3:6]), list(order[:3])]
    again = await search(store, f"Patient?{third.links['prev']}")
    assert again.links.keys() == {"self", "next", "prev"}
    assert first.total == second.total == third.total == 7


async def test_a_cursor_carries_no_name_and_cannot_be_changed(store: Store, tmp_path: Path) -> None:
    await save(store, *(patient(id, name=[{"family": "Lefevre"}]) for id in "ab"))
    first = await search(store, "Patient?_sort=family&_count=1")
    cursor = dict(parse_qsl(first.links["next"]))["_cursor"]
    assert b"efevre" not in base64.urlsafe_b64decode(cursor + "==")
    changed = [
        cursor[:20] + ("A" if cursor[20] != "A" else "B") + cursor[21:],
        cursor[1:],
        "x",
        "é",
        "A" * 9000,
        "=" * 40,
    ]
    for wrong in changed:
        with pytest.raises(Invalid, match="_cursor"):
            await search(store, f"Patient?_sort=family&_count=1&_cursor={wrong}")
    with pytest.raises(Invalid, match="_cursor"):
        await search(store, f"Patient?_sort=-family&_count=1&_cursor={cursor}")
    other = open_store(Settings(store=f"sqlite:///{tmp_path / 'store.db'}"))
    await other.open()
    assert (await found(other, f"Patient?_sort=family&_count=1&_cursor={cursor}"))[0] == ["b"]
    await other.close()


async def test_totals_and_counts(store: Store) -> None:
    await save(store, *(patient(id) for id in "abc"))
    assert await found(store, "Patient?_count=2") == (["c", "b"], [], 3)
    assert await found(store, "Patient?_count=2&_total=none") == (["c", "b"], [], None)
    assert await found(store, "Patient?_count=0") == ([], [], 3)
    assert await found(store, "Patient?_summary=count&_count=1") == ([], [], 3)
    with pytest.raises(NotFound):
        await search(store, "Patents")


async def test_includes(store: Store) -> None:
    await save(
        store,
        {"resourceType": "Organization", "id": "o1", "partOf": {"reference": "Organization/o2"}},
        {"resourceType": "Organization", "id": "o2", "partOf": {"reference": "Organization/o3"}},
        {"resourceType": "Organization", "id": "o3"},
        patient(
            "p1",
            managingOrganization={"reference": "Organization/o1"},
            generalPractitioner=[
                {"reference": "Practitioner/d"},
                {"reference": "https://there.example/Practitioner/1"},
            ],
        ),
        {"resourceType": "Practitioner", "id": "d"},
        request("s1", "p1"),
        request("s2", "p1"),
        request("s3", "p2"),
        task("t1", "s1", for_="x") | {"owner": {"reference": "Organization/o1"}},
    )
    assert await found(store, "Patient?_include=Patient:organization") == (["p1"], ["Organization/o1"], 1)
    assert (await found(store, "Patient?_include=Patient:*"))[1] == ["Organization/o1", "Practitioner/d"]
    assert (await found(store, "Patient?_include=Patient:general-practitioner:Organization"))[1] == []
    assert (await found(store, "Patient?_revinclude=ServiceRequest:subject"))[1] == [
        "ServiceRequest/s1",
        "ServiceRequest/s2",
    ]
    assert (await found(store, "Patient?_include=Patient:organization&_include:iterate=Organization:partof"))[
        1
    ] == ["Organization/o1", "Organization/o2", "Organization/o3"]
    assert (
        await found(
            store,
            "Patient?_revinclude=ServiceRequest:subject&_revinclude:iterate=Task:focus"
            "&_include:iterate=Task:owner",
        )
    )[1] == ["Organization/o1", "ServiceRequest/s1", "ServiceRequest/s2", "Task/t1"]
    assert (await found(store, "Organization?_id=o1,o2&_include=Organization:partof"))[1] == [
        "Organization/o3"
    ]


async def test_too_many_includes_are_cut_and_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(include, "MOST", 3)
    await save(store, patient("p"), *(request(f"s{n}", "p") for n in range(5)))
    result = await search(store, "Patient?_revinclude=ServiceRequest:subject")
    assert len(result.included) == 3
    assert [issue.slug for issue in result.issues] == ["include-cut"]


ME = Access("Practitioner/me", (Scope("*", "rs"),), frozenset({"Practitioner/me", "Organization/mine"}))


@pytest.mark.parametrize(
    ("query", "mine", "all_there_is"),
    [
        ("ServiceRequest", (["s1"], [], 1), (["s2", "s1"], [], 2)),
        ("Patient", (["p1"], [], 1), (["p3", "p2", "p1"], [], 3)),
        ("Patient?_id=p2", ([], [], 0), (["p2"], [], 1)),
        ("Task", (["t1"], [], 1), (["t2", "t1"], [], 2)),
        ("Task?focus=ServiceRequest/s2", ([], [], 0), (["t2"], [], 1)),
        ("Task?focus:ServiceRequest.subject:Patient.family=secret", ([], [], 0), (["t2"], [], 1)),
        ("Organization?_has:Task:owner:status=ready", (["o1"], [], 1), (["o2", "o1"], [], 2)),
        ("Organization?_has:Task:owner:status:not=x&_sort=_id", (["o1"], [], 1), (["o1", "o2"], [], 2)),
        (
            "Organization?_revinclude=Task:owner&_sort=_id",
            (["o1", "o2"], ["Task/t1"], 2),
            (["o1", "o2"], ["Task/t1", "Task/t2"], 2),
        ),
        (
            "Organization?_revinclude=Task:owner&_revinclude:iterate=Provenance:target&_include:iterate=Task:focus&_sort=_id",
            (["o1", "o2"], ["ServiceRequest/s1", "Task/t1"], 2),
            (["o1", "o2"], ["ServiceRequest/s1", "ServiceRequest/s2", "Task/t1", "Task/t2"], 2),
        ),
        ("Patient?_count=0", ([], [], 1), ([], [], 3)),
    ],
)
async def test_what_one_may_not_see_does_not_exist(
    store: Store, query: str, mine: Any, all_there_is: Any
) -> None:
    """The same question as the platform and as a person: both exact, so the first is the control of the
    second."""
    organization = {"resourceType": "Organization"}
    await save(
        store,
        {**organization, "id": "o1"},
        {**organization, "id": "o2"},
        patient("p1"),
        patient("p2", name=[{"family": "Secret"}]),
        patient("p3"),
        request("s1", "p1", "Organization/mine"),
        request("s2", "p2", "Organization/other"),
        task("t1", "s1", status="ready", owner={"reference": "Organization/o1"}),
        task("t2", "s2", status="ready", owner={"reference": "Organization/o2"}),
    )
    assert await found(store, query) == all_there_is
    assert await found(store, query, ME) == mine


NAMES = st.sampled_from(
    [
        "_id",
        "_lastUpdated",
        "_tag",
        "_sort",
        "_count",
        "_total",
        "_include",
        "_revinclude",
        "_cursor",
        "_elements",
        "name",
        "name:exact",
        "family:contains",
        "identifier",
        "identifier:of-type",
        "gender:not",
        "gender:text",
        "birthdate",
        "general-practitioner",
        "organization:identifier",
        "organization.name",
        "link:missing",
        "_has:Observation:patient:value-quantity",
        "_has:ServiceRequest:subject:authored",
    ]
)
PIECES = st.lists(st.sampled_from([
    "a", "1", "|", ",", "$", "\\", "/", "Patient/1", "2024", "2024-02-30", "gt", "ap", "-", ".", "e", "%",
    "'", '"', ";--", "\0", "é", "\U0001f600", "https://x/", "urn:uuid:1", "true", "Observation:subject", ":",
    "*", " ", "9" * 400,
]), max_size=6).map("".join)  # fmt: skip


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.one_of(NAMES, NAMES, NAMES, st.text(max_size=20)), st.one_of(PIECES, st.text())),
        max_size=4,
    )
)
def test_any_query_is_answered_or_invalid(pairs: list[tuple[str, str]]) -> None:
    """No other exception, whatever is asked; the store has one patient to look at."""

    async def ask() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(Settings(store=f"sqlite:///{Path(folder) / 'store.db'}"))
            await store.open()
            try:
                await save(store, patient("1", name=[{"family": "a"}], birthDate="2024"), request("s", "1"))
                with contextlib.suppress(Invalid):
                    await run(store, plan("Patient", pairs, SYSTEM, fhir_base=BASE, zone=PARIS), SYSTEM)
            finally:
                await store.close()

    asyncio.run(ask())


def test_a_search_too_long_is_refused() -> None:
    for pairs in ([("gender", "a")] * 201, [("gender", "a" * 200_001)]):
        with pytest.raises(Invalid) as caught:
            plan("Patient", pairs, SYSTEM, fhir_base=BASE, zone=PARIS)
        assert caught.value.slug == "search-too-long"
