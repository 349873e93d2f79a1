"""One file → the same instance under the recipient's identity: the head is written anew, the rest is copied.

What is replaced or removed goes into the Original Attributes Sequence, as it was encoded. UIDs, transfer
syntax and pixels stay; memory stays flat, whatever the file. Blocking. PS3.3 §C.12.1.1.9; PS3.10 §7
"""

from __future__ import annotations

import os
import re
import struct
import tempfile
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from pydicom.filereader import read_dataset, read_file_meta_info

from dicomweb.attributes import Attributes, first, patient_ids, values
from dicomweb.coercion.identity import Identity
from dicomweb.coercion.raw import Element, Encoding, Unreadable, element, elements, item, sequence
from dicomweb.coercion.renewing import renewed
from dicomweb.dataset import DEFLATED, syntax_flags, to_json
from dicomweb.identity import issuer_key

Reason = Literal["COERCE", "CORRECT"]
ORIGINAL, MODIFIED = 0x04000561, 0x04000550
MODIFIED_AT, SYSTEM, SOURCE, REASON = 0x04000562, 0x04000563, 0x04000564, 0x04000565
NAME, ID, ISSUER, QUALIFIERS = 0x00100010, 0x00100020, 0x00100021, 0x00100024
BIRTH, SEX, OTHERS, ACCESSION = 0x00100030, 0x00100040, 0x00101002, 0x00080050
UNIVERSAL, UNIVERSAL_TYPE, TYPE_OF_ID = 0x00400032, 0x00400033, 0x00100022
PIXELS = 0x7FE00000
DEFAULT = "iso8859"  # how pydicom calls ISO-IR 6, of which only the ASCII half is allowed
_UIDS = (0x00080018, 0x0020000D, 0x0020000E)
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
READ = [NAME, ID, ISSUER, QUALIFIERS, BIRTH, SEX, OTHERS, ACCESSION, 0x00080005]
LARGEST = 16_000_000  # bytes of one element that is held in memory
CHUNK = 1 << 20


class Writer(Protocol):
    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Coercion:
    """What is to stand in an instance, and what is said of the change: `at` (a DT), by which `system`, where
    the previous values came from. `renew`: old UID → new UID, for an instance that is to be another one."""

    identity: Identity
    at: str
    system: str
    source: str
    reason: Reason = "COERCE"
    renew: Callable[[str], str] | None = None


def coerce(path: Path, target: Path, coercion: Coercion) -> bool:
    """Whether something was to be changed; only then `target` is written. Raises Unreadable."""
    with path.open("rb") as file:
        start = _body(file)
        syntax = _syntax(path)
        flags = syntax_flags(syntax)
        encoding = Encoding(not flags.implicit, flags.little_endian)
        with _told(), _plain(file, start, syntax, target.parent) as (body, begin):
            known = _known(body, begin, encoding)
            changes = _changes(coercion.identity, known, encoding)
            if not changes and coercion.renew is None:
                return False
            with target.open("wb") as out:
                out.write(_head(file, start, coercion.renew))
                job = _Job(coercion, changes, encoding)
                if syntax == DEFLATED:
                    deflating = _Deflating(out)
                    job.run(body, begin, deflating)
                    deflating.end()
                else:
                    job.run(body, begin, out)
    return True


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (struct.error, zlib.error) as error:
        raise Unreadable("not encoded as it says") from error


def _body(file: BinaryIO) -> int:
    """Where the dataset begins, after the file meta information."""
    head = file.read(144)
    if head[128:136] != b"DICM\x02\0\0\0":
        raise Unreadable("no file meta information with its length")
    return 144 + int.from_bytes(head[140:144], "little")


def _syntax(path: Path) -> str:
    try:
        return str(read_file_meta_info(str(path)).get("TransferSyntaxUID", ""))
    except Exception as error:  # hostile input
        raise Unreadable("the file meta information cannot be read") from error


def _head(file: BinaryIO, start: int, renew: Callable[[str], str] | None) -> bytes:
    """Preamble and file meta information."""
    file.seek(0)
    head = file.read(start)
    if renew is None:
        return head
    meta = renewed(head[144:], Encoding(), renew)
    return head[:132] + element(0x00020000, struct.pack("<I", len(meta)), Encoding(), "UL") + meta


@contextmanager
def _plain(file: BinaryIO, start: int, syntax: str, folder: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The dataset uncompressed, and where it begins: a deflated one is inflated beside the target."""
    if syntax != DEFLATED:
        yield file, start
        return
    with tempfile.TemporaryFile(dir=folder) as plain:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        file.seek(start)
        while chunk := file.read(1 << 16):
            data = chunk
            while data:
                plain.write(inflater.decompress(data, CHUNK))
                data = inflater.unconsumed_tail
        plain.write(inflater.flush())
        yield plain, 0


def _known(body: BinaryIO, begin: int, encoding: Encoding) -> Attributes:
    """The identifying attributes as DICOM JSON."""
    body.seek(begin)
    try:
        found = read_dataset(
            body, not encoding.explicit, encoding.little,
            stop_when=lambda tag, _vr, _length: tag > OTHERS, specific_tags=list(READ),
        )  # fmt: skip
        made = to_json(found)
        made["characters"] = found._character_set
    except Exception as error:  # hostile input
        raise Unreadable("the identifying attributes cannot be read") from error
    return made


def _changes(identity: Identity, known: Attributes, encoding: Encoding) -> dict[int, bytes]:
    """Tag → the encoded element that is to stand there (empty: none), for what differs."""
    found: dict[int, bytes] = {}
    codec = _codec(known)

    def put(tag: int, text: str, now: str) -> None:
        encoded = _encoded(text, codec)
        if text and encoded is not None and text != now:
            found[tag] = element(tag, encoded, encoding)

    put(NAME, identity.name, first(known, "00100010").rstrip("^ "))
    put(BIRTH, identity.birth, first(known, "00100030"))
    put(SEX, identity.sex, first(known, "00100040"))
    put(ACCESSION, identity.accession, first(known, "00080050"))
    if identity.patient_id:
        _identify(found, identity, known, encoding)
    return found


def _identify(found: dict[int, bytes], identity: Identity, known: Attributes, encoding: Encoding) -> None:
    """The number with its issuer; the INS and the number that was there among the others."""
    codec = _codec(known)
    if (first(known, "00100020"), first(known, "00100021")) != (identity.patient_id, identity.issuer):
        found[ID] = element(ID, _latin(identity.patient_id, codec), encoding)
        found[ISSUER] = element(ISSUER, _latin(identity.issuer, codec), encoding)
    qualifiers = _qualifiers(identity.issuer, encoding)
    present = [first(one, "00400032") for one in values(known, "00100024") if isinstance(one, Mapping)]
    if present != ([identity.issuer] if qualifiers else []):
        found[QUALIFIERS] = qualifiers
    if others := _others(identity, known):
        found[OTHERS] = b"".join(item(_other(*one, codec, encoding), encoding) for one in others)


def _others(identity: Identity, known: Attributes) -> list[tuple[str, str]]:
    """The numbers that are to be added to those that stand there."""
    there = {(one.value, issuer_key(one.issuer)) for one in patient_ids({**known, "00100020": {}})}
    there.add((identity.patient_id, issuer_key(identity.issuer)))
    main = [(one.value, one.issuer) for one in patient_ids({**known, "00101002": {}})]
    wanted = dict.fromkeys([*identity.others, *main])
    return [one for one in wanted if (one[0], issuer_key(one[1])) not in there]


def _other(number: str, issuer: str, codec: str, encoding: Encoding) -> bytes:
    """The elements of one item of Other Patient IDs. PS3.3 §C.7.1.1"""
    named = element(ISSUER, _latin(issuer, codec), encoding) if issuer else b""
    return b"".join(
        (
            element(ID, _latin(number, codec), encoding),
            named,
            element(TYPE_OF_ID, b"TEXT", encoding),
            _qualifiers(issuer, encoding),
        )
    )


def _qualifiers(issuer: str, encoding: Encoding) -> bytes:
    """The issuer as a universal entity, where it is an OID. PS3.3 §10.14"""
    oid = issuer_key(issuer)
    if not _OID.fullmatch(oid):
        return b""
    named = element(UNIVERSAL, oid.encode(), encoding) + element(UNIVERSAL_TYPE, b"ISO", encoding)
    return sequence(QUALIFIERS, [named], encoding)


def _codec(known: Attributes) -> str:
    """Python's name of the dataset's first character set; others need escapes, which are not written here."""
    found = known.get("characters") or DEFAULT
    first_one = str(found if isinstance(found, str) else found[0])
    return "ascii" if first_one == DEFAULT else first_one


def _encoded(text: str, codec: str) -> bytes | None:
    """In the dataset's characters; without its accents where those have none; None where that is not enough,
    and what stands there stays."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    for one in (text, bare):
        try:
            return one.encode(codec)
        except (UnicodeEncodeError, LookupError):
            continue
    return None


def _latin(text: str, codec: str) -> bytes:
    return _encoded(text, codec) or text.encode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class _Job:
    """The new elements of one file (`changes`: tag → element, or the items to add to Other Patient IDs)."""

    coercion: Coercion
    changes: Mapping[int, bytes]
    encoding: Encoding

    def run(self, body: BinaryIO, begin: int, out: Writer) -> None:
        """Head first, then the rest as it is."""
        body.seek(0, os.SEEK_END)
        end = body.tell()
        if begin > end:
            raise Unreadable("cut within the file meta information")
        body.seek(begin)
        top = sorted(elements(body, end, self.encoding, stop=PIXELS), key=lambda one: one.tag)
        rest = max((one.end for one in top), default=begin)
        there = {one.tag: one for one in top}
        made = self._made(body, there)
        groups = {tag >> 16 for tag in made}
        for tag in sorted({*there, *made}):
            if tag in made:
                out.write(made[tag])
            elif tag & 0xFFFF or tag >> 16 not in groups:  # the length of a group that changed is left out
                _copy(body, there[tag].start, there[tag].end, out)
        _copy(body, rest, end, out)

    def _made(self, body: BinaryIO, there: Mapping[int, Element]) -> dict[int, bytes]:
        """Tag → the new element."""
        made = dict(self.changes)
        if OTHERS in made:
            present = self._items(body, there.get(OTHERS))
            made[OTHERS] = element(OTHERS, present + made[OTHERS], self.encoding, "SQ")
        if self.coercion.renew is not None:
            made = {**self._renewed(body, there, self.coercion.renew), **made}
        kept = b"".join(
            _bytes(body, there[tag])
            for tag in sorted(made)
            if tag in there and tag in (*self.changes, *_UIDS)
        )
        previous = self._items(body, there.get(ORIGINAL))
        mine = item(self._said(kept), self.encoding)
        made[ORIGINAL] = element(ORIGINAL, previous + mine, self.encoding, "SQ")
        return made

    def _said(self, kept: bytes) -> bytes:
        """The elements of our item of Original Attributes."""
        said = self.coercion
        texts = ((MODIFIED_AT, said.at), (SYSTEM, said.system), (SOURCE, said.source), (REASON, said.reason))
        modified = sequence(MODIFIED, [kept], self.encoding)
        return modified + b"".join(
            element(tag, text.encode("ascii", "replace")[:64], self.encoding) for tag, text in texts
        )

    def _items(self, body: BinaryIO, found: Element | None) -> bytes:
        """The items of a sequence as they are encoded."""
        if found is None:
            return b""
        whole = _bytes(body, found)
        return whole[found.value - found.start : len(whole) - 8 * found.is_open]

    def _renewed(
        self, body: BinaryIO, there: Mapping[int, Element], renew: Callable[[str], str]
    ) -> dict[int, bytes]:
        found = {}
        for tag, one in there.items():
            if one.vr in ("UI", "SQ") and tag != ORIGINAL:
                old = _bytes(body, one)
                new = renewed(old, self.encoding, renew)
                if new != old:
                    found[tag] = new
        return found


class _Deflating:
    """PS3.5 §A.5"""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._deflater = out, zlib.compressobj(wbits=-zlib.MAX_WBITS)
        self._size = 0

    def write(self, data: bytes) -> None:
        self._put(self._deflater.compress(data))

    def end(self) -> None:
        self._put(self._deflater.flush())
        self._out.write(b"\0" * (self._size % 2))

    def _put(self, data: bytes) -> None:
        self._size += len(data)
        self._out.write(data)


def _copy(body: BinaryIO, start: int, end: int, out: Writer) -> None:
    body.seek(start)
    left = end - start
    while left and (chunk := body.read(min(CHUNK, left))):
        out.write(chunk)
        left -= len(chunk)


def _bytes(body: BinaryIO, one: Element) -> bytes:
    """The whole element. Raises Unreadable when it is too large to be held."""
    if one.end - one.start > LARGEST:
        raise Unreadable("an element too large to be rewritten")
    body.seek(one.start)
    return body.read(one.end - one.start)
