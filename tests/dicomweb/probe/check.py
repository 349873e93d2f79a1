"""One check of the probe: a request, the statuses the standard allows, what must hold of the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

JSON, XML, DICOM, OCTETS = (
    "application/dicom+json", "application/dicom+xml", "application/dicom", "application/octet-stream",
)  # fmt: skip
Then = Callable[[httpx.Response], object]


@dataclass(frozen=True)
class Check:
    """`then` raises or returns False when the answer is wrong; several may be given."""

    section: str
    name: str
    path: str
    status: int | tuple[int, ...] = 200
    accept: str | None = None
    then: Then | tuple[Then, ...] = ()
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None

    def run(self, client: httpx.Client) -> httpx.Response:
        headers = dict(self.headers)
        if self.accept is not None:
            headers["Accept"] = self.accept
        request = client.build_request(self.method, self.path, headers=headers, content=self.content)
        if self.accept == "":
            del request.headers["accept"]
        answer = client.send(request)
        allowed = self.status if isinstance(self.status, tuple) else (self.status,)
        assert answer.status_code in allowed, (answer.status_code, answer.text[:300])
        for one in self.then if isinstance(self.then, tuple) else (self.then,):
            assert one(answer) is not False, (dict(answer.headers), answer.content[:300])
        return answer


def table(checks: list[Check]) -> Any:
    """The checks as parameters, named by section."""
    names = [f"{check.section} {check.name}" for check in checks]
    assert len(set(names)) == len(names), [name for name in names if names.count(name) > 1]
    return pytest.mark.parametrize("check", checks, ids=names)


@dataclass(frozen=True)
class Piece:
    """One part of a multipart answer."""

    headers: Mapping[str, str]
    content: bytes

    @property
    def media(self) -> str:
        return self.headers["content-type"].partition(";")[0]

    @property
    def syntax(self) -> str:
        found = self.headers["content-type"].partition("transfer-syntax=")[2]
        return found.partition(";")[0].strip('"')


def parameter(content_type: str, name: str) -> str:
    for one in content_type.split(";")[1:]:
        key, _, value = one.strip().partition("=")
        if key.lower() == name:
            return value.strip('"')
    return ""


def pieces(answer: httpx.Response) -> list[Piece]:
    """The parts, read strictly: delimiters, empty line, closing delimiter. RFC 2046 §5.1.1"""
    kind = answer.headers["content-type"]
    assert kind.startswith("multipart/related"), kind
    delimiter = b"--" + parameter(kind, "boundary").encode()
    assert len(delimiter) > 2
    before, *between, after = (b"\r\n" + answer.content).split(b"\r\n" + delimiter)
    assert (before, after.strip()) == (b"", b"--"), (before, after)
    found = []
    for part in between:
        head, empty, content = part.partition(b"\r\n\r\n")
        assert empty
        lines = [line for line in head.decode("ascii").split("\r\n") if line]
        fields = {name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
        assert fields["content-type"].partition(";")[0] == parameter(kind, "type").partition(";")[0]
        found.append(Piece(fields, content))
    assert found
    return found


def rows(answer: httpx.Response) -> list[dict[str, Any]]:
    """The results of a search: 204 and [] are nothing."""
    if answer.status_code == 204:
        assert answer.content == b""
        return []
    assert answer.headers["content-type"].partition(";")[0] == JSON, answer.headers["content-type"]
    found: list[dict[str, Any]] = json.loads(answer.content)
    return found


def first(row: Mapping[str, Any], tag: str) -> Any:
    return row[tag]["Value"][0]


def is_type(expected: str) -> Then:
    return lambda answer: answer.headers["content-type"].partition(";")[0].strip() == expected


def has(name: str, containing: str = "") -> Then:
    return lambda answer: containing in answer.headers[name]
