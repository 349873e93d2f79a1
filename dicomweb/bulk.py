"""Bulk data by its path in the dataset: where the value lies in the file, or the value itself. Blocking.

`7FE00010` is the pixel data, `54000100/1/54001010` an element of the first item of a sequence. PS3.18
§10.4.1.1.5
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import dcmread

from dicomweb.attributes import Attributes
from dicomweb.dataset import BULK, HEADER_LIMIT
from dicomweb.frames import Framed
from dicomweb.images import Images
from dicomweb.media import Spans
from dicomweb.web import absent

PIXELS = ("7FE00010", "7FE00008", "7FE00009")
_PATH = re.compile(r"[0-9A-F]{8}(/[1-9][0-9]{0,5}/[0-9A-F]{8}){0,16}")


@dataclass(frozen=True, slots=True)
class Value:
    """`length` bytes of `content` from `start`."""

    content: bytes | Path | Spans
    start: int
    length: int


def paths(attributes: Attributes) -> Iterator[str]:
    """Every bulk value that an instance's JSON refers to."""
    for element in attributes.values():
        uri = element.get("BulkDataURI", "")
        if uri.startswith(BULK):
            yield uri[len(BULK) + 1 :]
        if element.get("vr") == "SQ":
            for item in element.get("Value", ()):
                yield from paths(item)


def is_path(text: str) -> bool:
    return _PATH.fullmatch(text) is not None


def find(images: Images, one: Framed, path: str) -> Value:
    """Any value but compressed pixels. Raises NotFound."""
    file = images.files.path(one.file.path)
    if path in PIXELS and one.where.kind == "native":
        return Value(file, one.where.start, one.where.size * one.where.frames)
    if path in PIXELS and one.where.kind == "stream":
        return Value(Spans(file, one.where.ranges[0]), 0, sum(length for _, length in one.where.ranges[0]))
    tags = path.split("/")
    if path in PIXELS and "7FE00010" not in one.attributes and path not in one.attributes:
        raise absent()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _value(file, tags)
        except Exception:  # hostile input, or a path that leads nowhere
            raise absent() from None


def _value(file: Path, tags: Sequence[str]) -> Value:
    dataset: Any = dcmread(file, defer_size=HEADER_LIMIT, stop_before_pixels=tags[0] not in PIXELS)
    for at in range(0, len(tags) - 1, 2):
        dataset = dataset[int(tags[at], 16)].value[int(tags[at + 1]) - 1]
    last = int(tags[-1], 16)
    raw = dataset._dict.get(last) if isinstance(dataset, Dataset) else None
    if raw is not None and getattr(raw, "value", b"") is None:
        return Value(file, raw.value_tell, raw.length)
    content = dataset[last].value
    if not isinstance(content, bytes):
        raise KeyError(last)
    return Value(content, 0, len(content))
