"""Searches out of random pieces of their own grammars, on a store with records: a page or an error that says
what is wrong, and what the reference evaluator finds. FHIR R4 search.html, search_filter.html"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fhir_server.settings import Settings
from fhir_server.store import open_store
from profiles.outcomes import Invalid
from tests.rest.search_world import evaluated, fill
from tests.rest.serving import ALL, make_engine, serve

TYPES = ("Patient", "Observation", "Location", "ValueSet", "RiskAssessment")
WORDS = st.sampled_from(
    ["and", "or", "not", "(", ")", "[", "]", ".", " ", "eq", "ne", "co", "sw", "gt", "po", "pr", "re", "ss",
     "in", '"a b"', '"', "name", "gender", "male", "subject", "birthdate", "2024",
     "_has:Observation:patient:code", "1-1", "true",
     "code-value-quantity", "[code eq 1-1]", "quantity", "_id", "p1", "\\", "$", "é", "*", "\ud7ff", "\x00"]
)  # fmt: skip
PIECES = st.lists(WORDS, max_size=12).map(" ".join) | st.lists(WORDS, max_size=8).map("".join)
TESTS = st.builds(
    "{} {} {}".format,
    st.sampled_from(
        ["gender", "name", "family", "birthdate", "subject.name", "subject:Patient.gender", "code", "_id",
         "date", "value-quantity", "url", "near", "_content", "code-value-quantity", "subject",
         "probability", "id"]
    ),
    st.sampled_from(["eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb", "pr", "po",
         "re", "sb"]),
    st.sampled_from(
        ["female", "lefevre", '"Zo"', "1980-02", "2024", "100", "p1", "Patient/p1", "1-1", "true", "5||mg",
         "1-1$gt100", "http://terms.example/a", "43.6|1.44", '""', "0.55", "1e400"]
    ),
)  # fmt: skip
FILTERS = st.recursive(
    TESTS,
    lambda inner: (
        st.builds("{} and {}".format, inner, inner)
        | st.builds("({} or {})".format, inner, inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=5,
)
VALUES = st.tuples(
    st.sampled_from(["_text", "_content", "near", "_filter", "code-value-quantity", "_list", "url:below"]),
    PIECES,
)
LARGEST = "9" * 60


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """(path, query) → the response, and what the evaluator says of a type's search (None: refused)."""
    folder = tmp_path_factory.mktemp("fuzz")
    loop = asyncio.new_event_loop()
    store = open_store(Settings(store=f"sqlite:///{folder}/t.db"))
    loop.run_until_complete(store.open())
    served = serve(make_engine(folder, store))
    memory = loop.run_until_complete(fill(served))
    client = served.client()

    def ask(type: str, query: list[tuple[str, str]]) -> tuple[httpx.Response, set[str] | None]:
        response = loop.run_until_complete(client.get(f"/{type}", params=[*query, ("_count", "100")]))
        try:
            return response, evaluated(served, memory, ALL, type, query)
        except Invalid:
            return response, None

    yield ask
    loop.run_until_complete(client.aclose())
    loop.run_until_complete(store.close())
    loop.close()


def check(response: httpx.Response, expected: set[str] | None) -> None:
    if expected is None:
        assert response.status_code == 400, response.text
        assert response.json()["issue"][0]["diagnostics"]
        return
    assert response.status_code == 200, response.text
    page = response.json()
    assert {entry["resource"]["id"] for entry in page.get("entry", ())} == expected
    assert page["total"] == len(expected)


@settings(max_examples=250, deadline=None)
@given(type=st.sampled_from(TYPES), query=VALUES)
@example(type="Location", query=("near", f"1|2|{LARGEST}|km"))
@example(type="Location", query=("near", "1|2|1e300|Ym"))
@example(type="Observation", query=("code-value-quantity", f"a${LARGEST}"))
@example(type="Patient", query=("_content", "a" * 5000))
def test_pieces(ask: Any, type: str, query: tuple[str, str]) -> None:
    check(*ask(type, [query]))


@settings(max_examples=250, deadline=None)
@given(type=st.sampled_from(TYPES), filter=FILTERS)
def test_filters(ask: Any, type: str, filter: str) -> None:
    check(*ask(type, [("_filter", filter)]))
