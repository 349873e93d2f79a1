"""A peer as the directory has it: an Endpoint resource → where it is, what it may be asked, at what pace.

    connectionType  dicom-dimse (ours)      address dicom://host:port/AETITLE, or dicoms:// for TLS
                    dicom-qido-rs (HL7's)   address https://host/dicom-web; QIDO, WADO and STOW below it
    managingOrganization                    the site whose people may query it
    extension peer                          use, retrieve, calling-ae, rate, from, until, verify, coerce,
    issuer, via

Keys and passwords are no part of a resource that everyone reads: `Credentials` finds them in a folder of the
operator's. FHIR R4 endpoint.html; PS3.8 §9; R086
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from profiles.outcomes import Invalid

BASE = "https://teledossier.example/fhir"
DIMSE = (f"{BASE}/CodeSystem/endpoint-connection", "dicom-dimse")
WEB = ("http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "dicom-qido-rs")
EXTENSION = f"{BASE}/StructureDefinition/peer"
MOST_CONNECTIONS = 8  # associations to one peer at once
Retrieve = Literal["get", "move"]
Verify = Literal["commitment", "presence", "content"]
Coerce = Literal["identity", "none"]
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(:[0-5]\d)?")


@dataclass(frozen=True, slots=True)
class Window:
    """When what is not vital may be transferred: minutes of the day, from inclusive, until exclusive; it may
    pass over midnight."""

    start: int
    end: int

    def holds(self, at: datetime) -> bool:
        minute = at.hour * 60 + at.minute
        if self.start <= self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


@dataclass(frozen=True, slots=True)
class Peer:
    """`kind` "dimse" uses host, port and AE title; "web" uses `url`, without a final slash. `rate` is bytes
    per second, 0 without limit. `retrieve`: C-GET, or C-MOVE to our own node. `verify`: after a relay, ask
    the peer which instances it has, or read them back and compare. `coerce`: what goes there bears the
    site's own identity of the patient, or is as it came; `issuer`: what the site calls the issuer of its
    patient numbers, "" = its FINESS number, else its id. `active`: the site allows calls. `via`:
    the id of the gateway's Endpoint through which alone it is reached, "" when we reach it ourselves.
    `calling_from`: the addresses, networks or host names it calls from, none: its own host; `sop_classes`:
    what it may store here, none: everything; `connections`: how many associations may carry what is moved to
    it."""

    id: str
    name: str
    organization: str
    kind: Literal["dimse", "web"]
    host: str = ""
    port: int = 0
    ae_title: str = ""
    tls: bool = False
    url: str = ""
    calling_ae: str = ""
    uses: frozenset[str] = frozenset()
    retrieve: Retrieve = "get"
    verify: Verify = "commitment"
    coerce: Coerce = "identity"
    issuer: str = ""
    rate: int = 0
    window: Window | None = None
    active: bool = True
    via: str = ""
    calling_from: tuple[str, ...] = ()
    sop_classes: frozenset[str] = frozenset()
    connections: int = 1

    @property
    def site(self) -> str:
        """The id of its organisation, "" without one."""
        return self.organization.removeprefix("Organization/")


def of_endpoint(resource: Mapping[str, Any]) -> Peer | None:
    """None for an Endpoint that is no image peer. Raises Invalid for one that is, and is wrong."""
    coding = resource.get("connectionType") or {}
    kind = (coding.get("system"), coding.get("code"))
    if kind not in (DIMSE, WEB):
        return None
    parts = _parts(resource)
    peer = {
        "id": str(resource.get("id", "")),
        "name": str(resource.get("name") or resource.get("id", "")),
        "organization": str((resource.get("managingOrganization") or {}).get("reference", "")),
        "calling_ae": str(parts.get("calling-ae", [""])[0]),
        "uses": frozenset(map(str, parts.get("use", ("query",)))),
        "retrieve": _one_of(parts, "retrieve", ("get", "move")),
        "verify": _one_of(parts, "verify", ("commitment", "presence", "content")),
        "coerce": _one_of(parts, "coerce", ("identity", "none")),
        "issuer": str(parts.get("issuer", [""])[0])[:64],
        "rate": int(parts.get("rate", [0])[0]) * 1000,
        "window": _window(parts),
        "active": resource.get("status") == "active",
        "via": _via(parts),
        "calling_from": tuple(str(one).strip() for one in parts.get("calling-from", ())),
        "sop_classes": frozenset(str(one).removeprefix("urn:oid:") for one in parts.get("sop-class", ())),
        "connections": min(max(int(parts.get("connections", [1])[0]), 1), MOST_CONNECTIONS),
    }
    address = str(resource.get("address", ""))
    return Peer(**peer, **(_node(address) if kind == DIMSE else _web(address)))


def _node(address: str) -> dict[str, Any]:
    try:
        found = urlsplit(address)
        port = found.port
    except ValueError as error:
        raise _wrong("the address is no dicom://host:port/AETITLE") from error
    title = unquote(found.path.strip("/"))
    if found.scheme not in ("dicom", "dicoms") or not found.hostname or not port:
        raise _wrong("the address is no dicom://host:port/AETITLE")
    if not 0 < len(title) <= 16 or not title.isascii() or "\\" in title or not title.isprintable():
        raise _wrong("an AE title has 1 to 16 characters")
    return {
        "kind": "dimse", "host": found.hostname, "port": port, "ae_title": title,
        "tls": found.scheme == "dicoms",
    }  # fmt: skip


def _web(address: str) -> dict[str, Any]:
    found = urlsplit(address)
    if found.scheme not in ("http", "https") or not found.hostname or found.username or found.query:
        raise _wrong("the address is no http or https address of a DICOMweb service")
    return {"kind": "web", "url": address.rstrip("/"), "tls": found.scheme == "https"}


def _parts(resource: Mapping[str, Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for extension in resource.get("extension", ()):
        if extension.get("url") == EXTENSION:
            for part in extension.get("extension", ()):
                values = [value for name, value in part.items() if name.startswith("value")]
                found.setdefault(str(part.get("url")), []).extend(values)
    return found


def _one_of(parts: Mapping[str, list[Any]], name: str, known: tuple[str, ...]) -> Any:
    value = parts.get(name, [known[0]])[0]
    if value not in known:
        raise _wrong(f"{name} is one of {', '.join(known)}")
    return value


def _window(parts: Mapping[str, list[Any]]) -> Window | None:
    ends = [parts.get(name, [None])[0] for name in ("from", "until")]
    if ends == [None, None]:
        return None
    found = [_TIME.fullmatch(str(one)) for one in ends]
    if not all(found):
        raise _wrong("from and until are both given, as times of the day")
    start, end = (int(one[1]) * 60 + int(one[2]) for one in found if one)
    return Window(start, end)


def _via(parts: Mapping[str, list[Any]]) -> str:
    """A gateway that is named wrongly must not become a peer that we call ourselves."""
    if "via" not in parts:
        return ""
    value = parts["via"][0]
    type, _, id = str(value.get("reference", "") if isinstance(value, dict) else "").partition("/")
    if type != "Endpoint" or not id or "/" in id:
        raise _wrong("via is a reference to the Endpoint of a gateway")
    return id


def _wrong(text: str) -> Invalid:
    return Invalid("bad-peer", f"the Endpoint is no usable image peer: {text}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the operator put into `<folder>/<Endpoint id>/`: `ca.pem` (who may answer; else the system's),
    `client.pem` (our certificate and key), `authorization` (the value of that header)."""

    folder: Path

    def _file(self, peer: Peer, name: str) -> Path | None:
        path = self.folder / peer.id / name
        return path if peer.id and path.is_file() else None

    def client(self, peer: Peer) -> Path | None:
        return self._file(peer, "client.pem")

    def authority(self, peer: Peer) -> Path | None:
        return self._file(peer, "ca.pem")

    def authorization(self, peer: Peer) -> str:
        path = self._file(peer, "authorization")
        return path.read_text("utf-8").strip() if path else ""

    def context(self, peer: Peer) -> ssl.SSLContext:
        """TLS 1.2 or later, the peer's certificate and name checked. RFC 9325"""
        authority, client = self.authority(peer), self.client(peer)
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if client:
            context.load_cert_chain(str(client))
        return context
