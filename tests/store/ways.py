"""The ways an engine has to a page, chosen by what counts as small: all must give the same."""

from collections.abc import Mapping

import pytest

SQLITE, MONGO = "fhir_server.store.sqlite", "fhir_server.store.mongo.finder"
WAYS: Mapping[str, Mapping[str, int]] = {
    # a small source is fetched whole (SQLite); few candidates are judged one by one (MongoDB)
    "small": {},
    # every condition is asked row by row; what a filter cannot say is settled as a set first
    "walk": {f"{SQLITE}.pages.SMALL": -1, f"{SQLITE}.drive.SMALL": -1, f"{MONGO}.FEW": -1},
    # no set is small enough to be settled, and everything comes in small pieces
    "pieces": {
        f"{SQLITE}.pages.SMALL": -1, f"{MONGO}.FEW": -1, f"{MONGO}.MOST": 0, f"{MONGO}.BATCH": 2,
    },
}  # fmt: skip


def go(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Make the engines take that way."""
    for name, value in WAYS[way].items():
        monkeypatch.setattr(name, value)
