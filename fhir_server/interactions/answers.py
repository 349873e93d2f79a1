"""The response entries of batch and transaction. FHIR R4 http.html#transaction-response"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.entries import Item
from fhir_server.interactions.history import history
from fhir_server.interactions.listing import Entry
from fhir_server.interactions.prepare import instant
from fhir_server.interactions.read import not_modified, read
from fhir_server.interactions.search import search_compartment, search_listing, search_system
from fhir_server.interactions.vread import vread
from fhir_server.store.contract import Version
from profiles import codec, definitions
from profiles.outcomes import Invalid, Issue, TeledossierError, operation_outcome

_STATUS = {"create": "201 Created", "update": "200 OK", "delete": "204 No Content"}


def phrase(status: int) -> str:
    """`404 Not Found`."""
    return f"{status} {HTTPStatus(status).phrase}"


def answer_version(engine: Engine, version: Version, returning: str, *, status: str = "") -> Entry:
    """What a write answers: where it is, which version; the resource or an outcome if Prefer asks."""
    response: dict[str, Any] = {
        "status": status or _STATUS[version.method],
        "etag": f'W/"{version.version}"',
        "lastModified": instant(version.at),
    }
    if version.body is None:
        return Entry(None, response=response)
    address = f"{engine.settings.fhir_base}/{version.type}/{version.id}"
    response["location"] = f"{address}/_history/{version.version}"
    if returning == "OperationOutcome":
        done = Issue(
            "information", "informational", "done", f"{version.type}/{version.id} is at {version.version}"
        )
        response["outcome"] = operation_outcome([done])
    return Entry(version.body if returning == "representation" else None, address, response=response)


def answer_error(error: TeledossierError) -> Entry:
    """A failed entry of a batch."""
    return Entry(None, response={"status": phrase(error.status), "outcome": operation_outcome(error.issues)})


async def do_read(engine: Engine, access: Access, item: Item) -> Entry:
    """GET and HEAD inside a bundle: read, vread, histories, searches."""
    match item.segments:
        case ("_history",) | (_, "_history") | (_, _, "_history"):
            type, id = (*item.segments[:-1], "", "")[:2]
            listing = await history(engine, access, type, id, item.query)
            return Entry(listing.dump(), response={"status": "200 OK"})
        case (type,):
            listing = await search_listing(engine, access, type, item.query)
            return Entry(listing.dump(), response={"status": "200 OK"})
        case (name, id, type) if type == "*" or type in definitions.resource_types():
            listing = await search_compartment(engine, access, (name, id, type), item.query)
            return Entry(listing.dump(), response={"status": "200 OK"})
        case ():
            listing = await search_system(engine, access, item.query)
            return Entry(listing.dump(), response={"status": "200 OK"})
        case (type, id):
            return _answer_read(engine, item, await read(engine, access, type, id))
        case (type, id, "_history", version) if version.isdecimal() and len(version) < 19:
            return _answer_read(engine, item, await vread(engine, access, type, id, int(version)))
    raise Invalid(
        "bad-url",
        f"{item.place}.request.url is no address that a bundle can read",
        expression=f"{item.place}.request.url",
    )


def _answer_read(engine: Engine, item: Item, version: Version) -> Entry:
    response = {"status": "200 OK", "etag": f'W/"{version.version}"', "lastModified": instant(version.at)}
    if not_modified(version, item.if_none_match, item.if_modified_since):
        return Entry(None, response={**response, "status": phrase(304)})
    return Entry(version.body, f"{engine.settings.fhir_base}/{version.type}/{version.id}", response=response)


def as_entry(resource: dict[str, Any] | bytes | None, status: int) -> Entry:
    """An operation's result as a response entry; bytes are taken only when they are FHIR JSON."""
    body = codec.dump(resource) if isinstance(resource, dict) else resource
    return Entry(body, response={"status": phrase(status)})
