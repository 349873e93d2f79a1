"""The DICOM conformance statement, made from what is registered: `python -m dicomweb.conformance >
docs/conformance.md`.

A test holds the page in docs against this. PS3.2 (Conformance), §N (the statement's parts); PS3.18 §8.9
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from pydicom.uid import UID

from dicomweb import capabilities, keys, reasons
from dicomweb.dimse import known, server
from dicomweb.dimse.services import offered
from dicomweb.dimse.sockets import MAXIMUM_PDU
from dicomweb.encodings import ENCODINGS, FREE, RATIO
from dicomweb.index.schema import INSTANCE_TAGS, SERIES_TAGS, STUDY_TAGS
from dicomweb.index.subscriptions import MOST
from dicomweb.qido import MAXIMUM
from dicomweb.reasons import Reason
from dicomweb.steps import teller
from dicomweb.subscriptions import EVERY, FILTERED, LONGEST_SECONDS
from dicomweb.syntaxes import DECODED, FRAME_SYNTAXES, LOSSY, MADE, MADE_FRAMES

_HEAD = """# DICOM conformance statement

Made by `python -m dicomweb.conformance` from what the program registers; do not edit.

## Overview
Télédossier receives images by C-STORE and STOW-RS, keeps them as they came, and hands them out by DICOMweb
and, to known peers, by C-MOVE and C-GET. It is no viewer of diagnostic quality: rendered pictures are for
orientation.

| service | as user (SCU) | as provider (SCP) |
| --- | --- | --- |
| Verification | yes, of the directory's systems | yes |
| Storage | yes, for C-MOVE and C-GET | yes |
| Query/Retrieve at patient root and study root | yes, at study root | yes, for known peers |
| Storage Commitment | yes, after a relay | yes, for known peers |
| Modality Worklist | yes, of sites whose Endpoint has `worklist` | yes, for known peers |
| Modality Performed Procedure Step | yes, of sites whose Endpoint has `steps` | yes, for known peers |
| Modality Performed Procedure Step Retrieve | no | yes, for known peers |
| STOW-RS, QIDO-RS, WADO-RS, WADO-URI, UPS-RS | no | yes |
"""


_EVENTS = f"""

### Events of work items
Subscriptions are to one work item, to all (`{EVERY}`), or to those that fit a `filter` (`{FILTERED}`:
`filter=attribute=value,…`, or the parameters of a search). A subscriber then opens the WebSocket
`/dicom-web/subscribers/{{subscriber}}` and is told, as DICOM JSON in text frames with the command's
attributes:
UPS State Report (1; also once at the beginning of each subscription), UPS Cancel Requested (2), UPS Progress
Report (3), UPS Assigned (5). Events wait for a subscriber who is away, the newest {MOST} of them. A channel
is closed after {LONGEST_SECONDS:g} s, to be opened again; a newer one of the same subscriber ends the older.
An AE
title is whose subscribes by it first. Work items are never deleted, so a deletion lock is kept and changes
nothing; SCP Status Change (4) is not sent."""


def statement() -> str:
    """The page, in Markdown."""
    parts = [_HEAD, _network(), _storage(), _query(), _steps(), _web(), _syntaxes(), _statuses(), _security()]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _one in head) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _named(uid: str) -> str:
    return str(UID(uid).name)


def _network() -> str:
    rows = [
        ("maximum length of a PDU", f"{MAXIMUM_PDU} bytes"),
        ("associations at once", str(server.MAXIMUM_ASSOCIATIONS)),
        ("idle association closed after", f"{server.IDLE_SECONDS:g} s"),
        ("answer awaited", f"{server.ANSWER_SECONDS:g} s"),
        ("asynchronous operations", "no"),
        ("extended negotiation of queries", "no: relational queries are always answered"),
        ("SCP/SCU role selection", "yes: storage classes for C-GET, Storage Commitment"),
    ]
    names = [(_named(uid), f"`{uid}`") for uid in ("1.2.840.10008.1.1", *offered(known.SERVICES))]
    said = (
        "Abstract syntaxes offered besides storage (after Verification, to peers whose Endpoint lists them):"
    )
    return f"## Network\n{_table(('what', 'value'), rows)}\n\n{said}\n\n{_table(('name', 'UID'), names)}"


def _storage() -> str:
    return """## Storage
Every storage class is accepted, those of the standard and private ones, in whichever transfer syntax the
sender proposes
first; datasets are neither coerced nor changed. Level 2 (full). A success status says that the file is
synced to disk and
indexed. An instance sent again with the same dataset is a success and changes nothing; with another dataset
it is kept for a person and never served."""


def _query() -> str:
    def tags(found: Iterable[str]) -> str:
        return ", ".join(f"({tag[:4]},{tag[4:]})" for tag in found)

    indexed: Mapping[str, list[str]] = {
        level: [tag for tag, (own, _column) in keys.KEYS.items() if own == level]
        for level in ("study", "series", "instance")
    }
    rows = [(level, tags(found)) for level, found in indexed.items()]
    kept = [("study", tags(STUDY_TAGS)), ("series", tags(SERIES_TAGS)), ("instance", tags(INSTANCE_TAGS))]
    return (
        "## Query\nThe same for C-FIND and QIDO-RS. Every attribute of an instance can be matched, "
        "also within sequences; names "
        "match without regard\nto case and accents in all their groups. "
        f"At most {MAXIMUM} results an answer.\n\nMatched by an index:\n\n"
        + _table(("level", "attributes"), rows)
        + "\n\nReturned without being asked for by QIDO-RS, where the instances have them:\n\n"
        + _table(("level", "attributes"), kept)
    )  # fmt: skip


def _steps() -> str:
    told = ", ".join(f"0x{status:04X}" for status in sorted(teller.SUCCESS))
    days = teller.GIVEN_UP // (24 * 3600 * teller.SECOND)
    waits = f"{teller.FIRST_WAIT:g} s to {teller.LONGEST_WAIT:g} s"
    return f"""## Performed procedure steps as SCU
What modalities of a site say (N-CREATE, N-SET) is told to each system of that site whose Endpoint has
`steps`, after the modality was answered: with the same SOP Instance UID, the dataset as it was received, one
message of a step after the other, in the transfer syntax that it came in where the peer takes it, else in
explicit or implicit little endian. {told}, any 0xBxxx,
0x0111 to an N-CREATE, and Error ID 0xA710 to an N-SET that may have been told before count as told.
No association, no answer, 0x0213 and 0xA7xx are tried again, for {days} days, after {waits}.
Any other status is kept with its message and not tried again unless the operator wants it; the N-SETs of a
step of which the N-CREATE is refused are not sent."""


def _web() -> str:
    from dicomweb.routes import registered

    rows = [
        (
            offer.method, f"`{offer.path}`",
            "<br>".join(f"`{one}`" for one in offer.answers) or "–",
            "<br>".join(f"`{one}`" for one in offer.takes) or "–",
            ", ".join(f"`{one}`" for one in offer.parameters) or "–",
        )
        for offer in capabilities.offers(registered())
    ]  # fmt: skip
    encodings = (
        f"A body of STOW-RS may have one Content-Encoding of {', '.join(f'`{one}`' for one in ENCODINGS)};\n"
        f"it unfolds to at most {FREE // 1_000_000} MB and {RATIO} times what was sent (413 beyond).\n"
        "A part may carry `Content-Digest: sha-256=:…:` (RFC 9530): what differs is refused with 0xC214.\n\n"
    )
    return (
        "## DICOMweb\nBelow `/dicom-web`. "
        + encodings
        + _table(("method", "address", "answers", "takes", "parameters"), rows)
        + _EVENTS
    )


def _syntaxes() -> str:
    def yes(condition: bool) -> str:
        return "yes" if condition else "–"

    media = {syntax: kind for kind, syntaxes in FRAME_SYNTAXES.items() for syntax in syntaxes}
    rows = [
        (_named(uid), f"`{uid}`", yes(uid in MADE), yes(uid in MADE_FRAMES),
         media.get(uid, "application/octet-stream"), yes(uid in LOSSY))
        for uid in sorted(DECODED)
    ]  # fmt: skip
    return (
        "## Transfer syntaxes\nStored: all. Decoded for rendering and transcoding: those below. What "
        "is made here is made without "
        "loss, but for single\nframes in JPEG baseline.\n\n"
        + _table(("name", "UID", "instances", "frames", "frames' media type", "loss possible"), rows)
    )  # fmt: skip


def _statuses() -> str:
    found = sorted(
        (one for one in vars(reasons).values() if isinstance(one, Reason)), key=lambda one: one.status
    )
    rows = [(f"0x{one.status:04X}", one.comment) for one in found]
    return (
        "## Statuses\nOf C-STORE, and Failure Reason of STOW-RS. A changed duplicate is 0x0111 there, and "
        "the warning 0xB000 by\nC-STORE; it is kept for a person:\n\n" + _table(("status", "meaning"), rows)
    )  # fmt: skip


def _security() -> str:
    return """## Security
DICOMweb asks for a bearer token (SMART App Launch 2.2, OAuth 2.0) or a session of the portal; every answer
is limited to the
studies that the reader may see, before counts and limits. Query and retrieve by DIMSE are for the peers that
the directory names (Endpoint resources), known by AE title and calling address, each with the services that
its Endpoint lists; others may store, or are rejected (`TELEDOSSIER_DIMSE_UNKNOWN`). TLS is terminated in
front of the program for HTTP;
DIMSE has a port of its own for TLS 1.2 and 1.3 (PS3.15 §B.12, BCP 195), with certificates on both sides.
Instances are never changed or removed: deletion puts them out of sight with a trace.

## Character sets
All of PS3.5 §6.1 as pydicom reads them; answers are in UTF-8 (`ISO_IR 192`)."""


if __name__ == "__main__":
    sys.stdout.write(statement())
