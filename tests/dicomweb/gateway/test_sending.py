"""One request: its body as any STOW-RS server reads it, and what an answer says of each instance."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import zstandard

from dicomweb import reasons
from dicomweb.gateway import sending
from dicomweb.gateway.outgoing import Entry
from dicomweb.multipart import Data, End, Head, Reader
from dicomweb.origin import Said, said


def entry(n: int, path: str = "", **changes: Any) -> Entry:
    made: dict[str, Any] = {
        "n": n, "uid": f"1.{n}", "study": "1", "series": "1.1", "sop_class": "1.2", "sha256": f"{n:064x}",
        "dataset": f"{n + 100:064x}", "size": 1, "path": path, "ae_title": "CT 1", "received": 9,
        "attempts": 0, "urgent": False,
    }  # fmt: skip
    return Entry(**{**made, **changes})


UNPACKED = {"": bytes, "gzip": gzip.decompress, "zstd": lambda data: zstandard.decompress(data, 1 << 26)}


@pytest.mark.parametrize("coding", sorted(UNPACKED))
def test_the_body_has_every_byte_and_what_the_source_says(coding: str, tmp_path: Path) -> None:
    contents = [b"", b"\r\n--B--\r\n"[:3] * 5, bytes(range(256)) * 4000]
    entries = []
    for n, content in enumerate(contents):
        (tmp_path / str(n)).write_bytes(content)
        entries.append(entry(n, str(n), sha256=hashlib.sha256(content).hexdigest()))
    whole = b"".join(sending.body(entries, lambda one: tmp_path / one.path, "B", coding))
    if coding:
        whole = zstandard.ZstdDecompressor().decompressobj().decompress(whole) if coding == "zstd" else whole
        whole = gzip.decompress(whole) if coding == "gzip" else whole
    reader, parts, heads = Reader("B"), [b""], []
    for event in reader.feed(whole):
        match event:
            case Head(fields):
                heads.append(fields)
            case Data(content):
                parts[-1] += content
            case End():
                parts.append(b"")
    reader.finish()
    assert parts[:-1] == contents
    assert [said(one) for one in heads] == [
        Said(hashlib.sha256(content).hexdigest(), "CT 1", 9, f"{n + 100:064x}")
        for n, content in enumerate(contents)
    ]
    assert sending.headers("B", coding).get("Content-Encoding", "") == coding


@pytest.mark.parametrize("coding", ["zstd", "gzip"])
def test_memory_is_flat_whatever_the_size(coding: str, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        for n in range(60):
            file.write(hashlib.shake_256(bytes([n])).digest(1_000_000))
    tracemalloc.start()
    size = sum(len(chunk) for chunk in sending.body([entry(1)], lambda _one: path, "B", coding))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 50_000_000
    assert peak < 8_000_000


def answer(stored: list[str] = [], failed: dict[str, int] = {}, others: list[int] = []) -> dict[str, Any]:  # noqa: B006
    def items(found: list[Any]) -> dict[str, Any]:
        return {"vr": "SQ", "Value": found}

    def uid(value: str) -> dict[str, Any]:
        return {"00081155": {"vr": "UI", "Value": [value]}}

    made = {
        "00081199": items([uid(one) for one in stored]),
        "00081198": items(
            [{**uid(one), "00081197": {"vr": "US", "Value": [code]}} for one, code in failed.items()]
        ),
        "0008119A": items([{"00081197": {"vr": "US", "Value": [code]}} for code in others]),
    }
    return {tag: value for tag, value in made.items() if value["Value"]}


@pytest.mark.parametrize(
    ("told", "status", "expected"),
    [
        (answer(["1.1", "1.2"]), 200, [("delivered", ""), ("delivered", "")]),
        ([answer(["1.1", "1.2"])], 200, [("delivered", ""), ("delivered", "")]),
        (answer(["1.1"], {"1.2": 0x0122}), 202, [("delivered", ""), ("apart", "unsupported-sop-class")]),
        (answer([], {"1.1": 0xA700, "1.2": 0xA7FF}), 503,
         [("later", "out-of-resources"), ("later", "out-of-resources")]),
        (answer(["1.1"], {"1.2": 0x0111}), 202, [("delivered", ""), ("delivered", "duplicate")]),
        (answer(["1.1"], {"1.2": 0xC214}), 202, [("delivered", ""), ("later", "altered")]),
        (answer(["1.1"], {"1.2": 0xC211}), 202, [("delivered", ""), ("later", "failed")]),
        (answer(["1.1"], {"1.2": 0x0110}), 202, [("delivered", ""), ("later", "0x0110")]),
        (answer(["1.1"], {"1.1": 0xC001}), 202, [("apart", "missing-uids"), ("later", "not-answered")]),
        (answer(["1.1"], {}, [0xC210]), 202, [("delivered", ""), ("later", "not-answered")]),
        (answer([], {}, [0xC210]), 400, [("later", "not-answered"), ("later", "not-answered")]),
        ({}, 200, [("later", "not-answered")] * 2),
        (None, 200, [("later", "not-answered")] * 2),
        ([], 200, [("later", "not-answered")] * 2),
        ("text", 202, [("later", "not-answered")] * 2),
        ({"00081199": 3, "00081198": {"Value": 5}}, 200, [("later", "not-answered")] * 2),
        ({"00081199": {"Value": [None, {"00081155": {"Value": [7]}}]}}, 200, [("later", "not-answered")] * 2),
        ({"00081198": {"Value": [{"00081155": {"Value": ["1.1"]}}]}}, 409,
         [("later", "no-reason"), ("later", "not-answered")]),
    ],
)  # fmt: skip
def test_each_instance_by_its_own_verdict(told: Any, status: int, expected: list[tuple[str, str]]) -> None:
    """PS3.18 §10.5.3, §I.2"""
    found = sending.verdicts([entry(1), entry(2)], told, status)
    assert [(one.sort, one.reason) for one in found] == expected
    assert [one.entry.n for one in found] == [1, 2]


@pytest.mark.parametrize(
    ("told", "status", "expected"),
    [
        (answer([], {}, [0xC210]), 400, ("apart", "unreadable")),
        (answer([], {}, [0xC214]), 409, ("later", "altered")),
        (None, 413, ("apart", "http-413")), ({"code": "x"}, 400, ("apart", "http-400")),
        (None, 200, ("later", "not-answered")),
    ],
)  # fmt: skip
def test_alone_an_instance_is_what_the_answer_is_about(
    told: Any, status: int, expected: tuple[str, str]
) -> None:
    (found,) = sending.verdicts([entry(1)], told, status)
    assert (found.sort, found.reason) == expected


def test_every_reason_of_the_platform_is_judged() -> None:
    """No reason that the platform has is taken for a passing one by accident."""
    passing = {reasons.OUT_OF_RESOURCES, reasons.OVER_QUOTA, reasons.FAILED, reasons.ALTERED}
    for one in vars(reasons).values():
        if isinstance(one, reasons.Reason):
            (found,) = sending.verdicts([entry(1)], answer([], {"1.1": one.status}), 409)
            kept = one == reasons.DUPLICATE
            expected = "delivered" if kept else "later" if one in passing else "apart"
            assert found.sort == expected, one
