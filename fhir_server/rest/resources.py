"""The handlers of types and instances: HTTP in, one interaction, HTTP out. FHIR R4 http.html"""

from __future__ import annotations

from fhir_server import bundle
from fhir_server.interactions import create, delete, history, patch, read, update, vread
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.entries import parse_query
from fhir_server.interactions.prepare import type_of
from fhir_server.interactions.search import search_compartment, search_listing, search_system
from fhir_server.interactions.subset import subset_of
from fhir_server.interactions.visibility import check_id, unknown
from fhir_server.rest import headers as http
from fhir_server.rest.answer import Answer, Call
from fhir_server.rest.body import whole
from fhir_server.rest.formats import patch_in, pretty, resource_in
from fhir_server.rest.negotiation import check_form, check_format
from fhir_server.store.contract import Version
from profiles import codec
from profiles.outcomes import Invalid, Issue, operation_outcome

_FORM_LIMIT = 1_000_000
_READ_PARAMETERS = frozenset({"_format", "_pretty", "_summary", "_elements"})


def version_out(call: Call, version: Version) -> Answer:
    """A read's answer: the stored bytes, a part of them, or 304."""
    tags = http.version_headers(version)
    if http.current(call.headers, version):
        return Answer(304, headers=tags)
    assert version.body is not None
    body = version.body
    if call.query:
        body = pretty(call, subset_of(call.query).apply(body))
    return Answer(200, body, tags)


def written_out(engine: Engine, call: Call, version: Version, *, made: bool) -> Answer:
    """A write's answer: 201 with Location, or 200; the body as Prefer asks, else the resource."""
    headers = http.version_headers(version)
    address = f"{engine.settings.fhir_base}/{version.type}/{version.id}/_history/{version.version}"
    if made:
        headers["Location"] = address
    else:
        headers["Content-Location"] = address
    returning = http.prefer(call.headers).returning
    status = 201 if made else 200
    if returning == "minimal":
        return Answer(status, b"", headers)
    if returning == "OperationOutcome":
        done = Issue(
            "information", "informational", "done", f"{version.type}/{version.id} is at {version.version}"
        )
        return Answer(status, pretty(call, codec.dump(operation_outcome([done]))), headers)
    return Answer(status, pretty(call, version.body or b""), headers)


async def read_instance(engine: Engine, call: Call) -> Answer:
    """GET [type]/[id]"""
    check_format(call)
    _check_parameters(call)
    type, id = call.segments
    return version_out(call, await read.read(engine, call.access, type, id))


async def read_version(engine: Engine, call: Call) -> Answer:
    """GET [type]/[id]/_history/[vid]"""
    check_format(call)
    _check_parameters(call)
    type, id, _, number = call.segments
    if not (number.isascii() and number.isdecimal()) or len(number) > 18:
        raise unknown(type, id)
    return version_out(call, await vread.vread(engine, call.access, type, id, int(number)))


def _check_parameters(call: Call) -> None:
    """A read with search parameters would look like a filtered read and is none. Raises Invalid naming the
    valid."""
    for name, _ in call.query:
        if name not in _READ_PARAMETERS:
            raise Invalid(
                "unknown-parameter",
                f"{name[:64]} is not a parameter of read; valid: {', '.join(sorted(_READ_PARAMETERS))}",
            )


async def history_of(engine: Engine, call: Call) -> Answer:
    """GET _history, [type]/_history and [type]/[id]/_history."""
    check_format(call)
    type, id = (*call.segments[:-1], "", "")[:2]
    listing = await history.history(engine, call.access, type, id, call.query)
    return Answer(200, pretty(call, listing.dump()))


async def search_type(engine: Engine, call: Call) -> Answer:
    """GET [type]?… and POST [type]/_search."""
    params, lenient = await _asked(call)
    listing = await search_listing(engine, call.access, call.segments[0], params, lenient=lenient)
    return Answer(200, pretty(call, listing.dump()))


async def search_all(engine: Engine, call: Call) -> Answer:
    """GET [base]?… and POST [base]/_search."""
    params, lenient = await _asked(call)
    listing = await search_system(engine, call.access, params, lenient=lenient)
    return Answer(200, pretty(call, listing.dump()))


async def search_within(engine: Engine, call: Call) -> Answer:
    """GET [compartment]/[id]/[type]?…, …/*?… and POST with _search behind either, or in place of the star."""
    params, lenient = await _asked(call)
    name, id, type = call.segments[:3]
    path = (name, id, "*" if type == "_search" else type)
    listing = await search_compartment(engine, call.access, path, params, lenient=lenient)
    return Answer(200, pretty(call, listing.dump()))


async def _asked(call: Call) -> tuple[list[tuple[str, str]], bool]:
    """The parameters, and whether unknown ones are passed over. A form's parameters count like the
    address's."""
    check_format(call)
    params = list(call.query)
    if call.method == "POST":
        check_form(call)
        try:
            params += parse_query((await whole(call, _FORM_LIMIT)).decode("utf-8"))
        except UnicodeDecodeError as error:
            raise Invalid("not-utf-8", "the form is not UTF-8") from error
    lenient = http.prefer(call.headers).handling == "lenient"
    return [(name, value) for name, value in params if name not in ("_format", "_pretty")], lenient


async def create_type(engine: Engine, call: Call) -> Answer:
    """POST [type], with If-None-Exist as conditional create."""
    check_format(call)
    resource = await resource_in(engine, call)
    _check_type(resource, call.segments[0])
    condition = call.headers.get("if-none-exist")
    if condition is None:
        return written_out(engine, call, await create.create(engine, call.access, resource), made=True)
    version, made = await create.create_unless(engine, call.access, resource, parse_query(condition))
    return written_out(engine, call, version, made=made)


async def update_instance(engine: Engine, call: Call) -> Answer:
    """PUT [type]/[id]"""
    check_format(call)
    type, id = call.segments
    check_id(id)
    _refuse_parameters(call)
    demanded = http.demanded(call.headers)
    resource = await resource_in(engine, call)
    _check_type(resource, type)
    if resource.get("id") != id:
        raise Invalid(
            "wrong-id", "the id of the resource is not the id of the address", expression=f"{type}.id"
        )
    version = await update.update(engine, call.access, resource, if_match=demanded)
    return written_out(engine, call, version, made=version.method == "create")


async def update_type(engine: Engine, call: Call) -> Answer:
    """PUT [type]?…: the one resource that matches."""
    check_format(call)
    type, condition = call.segments[0], _condition(call)
    demanded = http.demanded(call.headers)
    resource = await resource_in(engine, call)
    _check_type(resource, type)
    version = await update.update_matching(engine, call.access, resource, condition, if_match=demanded)
    return written_out(engine, call, version, made=version.method == "create")


async def patch_instance(engine: Engine, call: Call) -> Answer:
    """PATCH [type]/[id]"""
    check_format(call)
    _refuse_parameters(call)
    type, id = call.segments
    demanded = http.demanded(call.headers)
    document = await patch_in(engine, call)
    version = await patch.patch(engine, call.access, type, id, document, if_match=demanded)
    return written_out(engine, call, version, made=False)


async def patch_type(engine: Engine, call: Call) -> Answer:
    """PATCH [type]?…: the one resource that matches."""
    check_format(call)
    type, condition = call.segments[0], _condition(call)
    demanded = http.demanded(call.headers)
    document = await patch_in(engine, call)
    version = await patch.patch_matching(engine, call.access, type, condition, document, if_match=demanded)
    return written_out(engine, call, version, made=False)


async def delete_type(engine: Engine, call: Call) -> Answer:
    """DELETE [type]?…: 204, whether or not something matched."""
    type, condition, demanded = call.segments[0], _condition(call), http.demanded(call.headers)
    gone = await delete.delete_matching(engine, call.access, type, condition, if_match=demanded)
    return Answer(204, headers=http.version_headers(gone) if gone else {})


async def delete_instance(engine: Engine, call: Call) -> Answer:
    """DELETE [type]/[id]: 204, whether or not something was there."""
    _refuse_parameters(call)
    type, id = call.segments
    gone = await delete.delete(engine, call.access, type, id, if_match=http.demanded(call.headers))
    return Answer(204, headers=http.version_headers(gone) if gone else {})


async def post_bundle(engine: Engine, call: Call) -> Answer:
    """POST to the base: batch or transaction."""
    check_format(call)
    access = call.access
    resource = await resource_in(engine, call)
    if type_of(resource) != "Bundle":
        raise Invalid("not-a-bundle", "the base takes a Bundle; a resource is posted to its type")
    returning = http.prefer(call.headers).returning or "minimal"
    return Answer(200, pretty(call, (await bundle.run(engine, access, resource, returning=returning)).dump()))


def _check_type(resource: Resource, type: str) -> None:
    if type_of(resource) != type:
        raise Invalid(
            "wrong-type",
            f"the resource's type is not {type}, which the address names",
            expression="Resource.resourceType",
        )


def _condition(call: Call) -> list[tuple[str, str]]:
    """The address's search parameters. Raises Invalid when there is none."""
    found = [pair for pair in call.query if pair[0] not in ("_format", "_pretty")]
    if not found:
        raise Invalid("no-condition", "the address names neither an id nor a condition")
    return found


def _refuse_parameters(call: Call) -> None:
    if any(name not in ("_format", "_pretty") for name, _ in call.query):
        raise Invalid("id-and-condition", "the address names an id and a condition: one of them")
