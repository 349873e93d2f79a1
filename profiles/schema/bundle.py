"""Bundles: full URLs, links, search results, documents and messages.

FHIR R4 bundle.html; documents.html; messaging.html
"""

from __future__ import annotations

import re
from typing import Any

from profiles import references
from profiles.schema.report import Message, Where
from profiles.schema.rules.item import Context, Item

Json = dict[str, Any]
_ABSOLUTE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")


def _message(code: str, slug: str, english: str, french: str) -> Message:
    return Message(code, slug, english, french)


RELATIVE = _message(
    "value",
    "relative-full-url",
    "the fullUrl is relative; write an absolute URL or a urn:uuid",
    "le fullUrl est relatif ; écrivez une URL absolue ou un urn:uuid",
)
WRONG_ID = _message(
    "value",
    "full-url-id",
    "the fullUrl does not end with the resource's type and id; make them agree",
    "le fullUrl ne se termine pas par le type et l'id de la ressource ; accordez-les",
)
TWICE = _message(
    "value",
    "repeated-link",
    "a link of this relation is there already; a Bundle has one of each",
    "un lien de cette relation existe déjà ; un Bundle en a un de chaque",
)
NO_ID = _message(
    "required",
    "result-without-id",
    "a search result has an id; add it",
    "un résultat de recherche a un id ; ajoutez-le",
)
NOT_OUTCOME = _message(
    "structure",
    "not-an-outcome",
    "an entry of mode outcome is an OperationOutcome; change the mode or the resource",
    "une entrée de mode outcome est un OperationOutcome ; changez le mode ou la ressource",
)
NO_MATCH = _message(
    "structure",
    "not-a-match",
    "this type was not searched for; such an entry has the mode include or outcome",
    "ce type n'était pas recherché ; une telle entrée a le mode include ou outcome",
)
FIRST_DOCUMENT = _message(
    "structure",
    "no-composition",
    "a document begins with its Composition; put it first",
    "un document commence par sa Composition ; mettez-la en premier",
)
FIRST_MESSAGE = _message(
    "structure",
    "no-message-header",
    "a message begins with its MessageHeader; put it first",
    "un message commence par son MessageHeader ; mettez-le en premier",
)
NOT_INSIDE = _message(
    "not-found",
    "outside-the-document",
    "what the Composition refers to is in the document; add it, or make the fullUrl and the reference agree",
    "ce que la Composition référence est dans le document ; ajoutez-le, ou accordez fullUrl et référence",
)
NOT_IN_MESSAGE = _message(
    "not-found",
    "outside-the-message",
    "what the message is about is in it; add it, or make the fullUrl and the reference agree",
    "ce dont parle le message est dedans ; ajoutez-le, ou accordez fullUrl et référence",
)
AMBIGUOUS = _message(
    "structure",
    "ambiguous-reference",
    "several entries answer this reference; name the version",
    "plusieurs entrées répondent à cette référence ; nommez la version",
)
UNREACHED = _message(
    "structure",
    "unreached-entry",
    "nothing leads from the Composition to this entry, or from it; refer to it, or take it away",
    "rien ne mène de la Composition à cette entrée, ni d'elle ; référencez-la, ou retirez-la",
)
SINGLE = frozenset({"self", "first", "last", "next", "previous", "prev"})


def check_bundle(item: Item, context: Context) -> None:
    """The whole Bundle's own rules; its resources are judged one by one elsewhere."""
    type = item.value.get("type")
    _links(item, context)
    entries = item.value.get("entry")
    rows = [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
    for place, entry in enumerate(rows):
        _full_url(entry, (item.where, "entry", place), context)
    if type == "searchset":
        searched = _searched(item.value)
        for place, entry in enumerate(rows):
            _result(entry, searched, (item.where, "entry", place), context)
    elif type in ("document", "message") and rows:
        first = rows[0].get("resource")
        wanted = "Composition" if type == "document" else "MessageHeader"
        if not isinstance(first, dict) or first.get("resourceType") != wanted:
            said = FIRST_DOCUMENT if type == "document" else FIRST_MESSAGE
            context.report.note((item.where, "entry", 0), said)
        elif type == "message":
            _focus(first, ((item.where, "entry", 0), "resource", -1), Rows(rows), context)
        elif type == "document":
            _inside(first, ((item.where, "entry", 0), "resource", -1), Rows(rows), context)
            if context.strict:
                _reached(item, Rows(rows), context)


def _links(item: Item, context: Context) -> None:
    seen = set()
    links = item.value.get("link")
    for place, link in enumerate(links if isinstance(links, list) else ()):
        relation = link.get("relation") if isinstance(link, dict) else None
        if not isinstance(relation, str):
            continue
        if relation in SINGLE and relation in seen:
            context.report.note((item.where, "link", place), TWICE)
        seen.add(relation)


def _full_url(entry: Json, where: Where, context: Context) -> None:
    url, resource = entry.get("fullUrl"), entry.get("resource")
    if not isinstance(url, str):
        return
    if not _ABSOLUTE.match(url):
        context.report.note((where, "fullUrl", -1), RELATIVE)
    elif isinstance(resource, dict) and url.startswith(("http://", "https://")):
        id, type = resource.get("id"), resource.get("resourceType")
        if isinstance(id, str) and references.parse(url).type and not url.endswith(f"/{type}/{id}"):
            context.report.note((where, "fullUrl", -1), WRONG_ID)


def _searched(bundle: Json) -> frozenset[str]:
    """The resource type of the self link's search; empty where it names none."""
    links = bundle.get("link")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("relation") == "self" and isinstance(link.get("url"), str):
            path, _, query = link["url"].partition("?")
            types = [part[6:] for part in query.split("&") if part.startswith("_type=")]
            if types:
                return frozenset(re.split(r",|%2C", types[0]))
            last = path.rstrip("/").rpartition("/")[2]
            if last[:1].isupper() and last.isalpha():
                return frozenset({last})
    return frozenset()


def _result(entry: Json, searched: frozenset[str], where: Where, context: Context) -> None:
    resource, search = entry.get("resource"), entry.get("search")
    if not isinstance(resource, dict):
        return
    type = resource.get("resourceType")
    mode = search.get("mode") if isinstance(search, dict) else None
    at = (where, "resource", -1)
    if mode == "outcome" and type != "OperationOutcome":
        context.report.note(at, NOT_OUTCOME)
    if "id" not in resource and type not in ("OperationOutcome", "Parameters") and mode is not None:
        context.report.note(at, NO_ID)
    if mode == "match" and searched and type not in searched and type != "OperationOutcome":
        context.report.note(at, NO_MATCH)


def _inside(composition: Json, where: Where, rows: Rows, context: Context) -> None:
    """subject, encounter, author, … and section entries of a document are in it."""
    for name, place, value in _referred(composition):
        text = value.get("reference")
        if not isinstance(text, str) or text.startswith("#"):
            continue
        found = rows.meant(text, rows.first)
        at = (where, name, place)
        if not found and (":" not in text or text.startswith("urn:")):
            context.report.note(at, NOT_INSIDE)
        elif len(found) > 1:
            context.report.note(at, AMBIGUOUS)


def _focus(header: Json, where: Where, rows: Rows, context: Context) -> None:
    """What a message is about is in it. FHIR R4 messaging.html#messageheader"""
    focus = header.get("focus")
    for place, value in enumerate(focus if isinstance(focus, list) else ()):
        text = value.get("reference") if isinstance(value, dict) else None
        if isinstance(text, str) and not text.startswith("#") and not rows.meant(text, rows.first):
            context.doubt((where, "focus", place), NOT_IN_MESSAGE)


def _referred(composition: Json) -> list[tuple[str, int, Json]]:
    found: list[tuple[str, int, Json]] = []
    for name in ("subject", "encounter", "custodian"):
        if isinstance(composition.get(name), dict):
            found.append((name, -1, composition[name]))
    authors = composition.get("author")
    for place, one in enumerate(authors if isinstance(authors, list) else ()):
        if isinstance(one, dict):
            found.append(("author", place, one))
    pending = [composition]
    while pending:
        sections = pending.pop().get("section")
        for section in sections if isinstance(sections, list) else ():
            if isinstance(section, dict):
                pending.append(section)
                entries = section.get("entry")
                found += [
                    ("section", -1, one)
                    for one in (entries if isinstance(entries, list) else ())
                    if isinstance(one, dict)
                ]
    return found


def _version(row: Json) -> object:
    resource = row.get("resource")
    meta = resource.get("meta") if isinstance(resource, dict) else None
    return meta.get("versionId") if isinstance(meta, dict) else None


class Rows:
    """The entries of a Bundle, by their full URLs."""

    def __init__(self, rows: list[Json]) -> None:
        self.rows = rows
        self.first = str(rows[0].get("fullUrl", "")) if rows else ""
        self._by_url: dict[str, list[Json]] = {}
        for row in rows:
            if isinstance(row.get("fullUrl"), str):
                self._by_url.setdefault(row["fullUrl"], []).append(row)

    def meant(self, text: str, base: str) -> list[Json]:
        """The entries that a reference means, relative to the referring entry's fullUrl."""
        plain, _, version = text.partition("/_history/")
        if ":" not in plain and base.startswith(("http://", "https://")):
            plain = f"{base.rsplit('/', 2)[0]}/{plain}"
        found = self._by_url.get(plain, [])
        return [row for row in found if _version(row) == version] if version else found

    def links(self) -> dict[int, set[int]]:
        """Which entries lead to which, either way, by their places."""
        places = {id(row): place for place, row in enumerate(self.rows)}
        found: dict[int, set[int]] = {place: set() for place in places.values()}
        for place, row in enumerate(self.rows):
            resource = row.get("resource")
            for _at, holder in references.walk(resource) if isinstance(resource, dict) else ():
                for other in self.meant(str(holder["reference"]), str(row.get("fullUrl", ""))):
                    found[place].add(places[id(other)])
                    found[places[id(other)]].add(place)
        return found


def _reached(item: Item, rows: Rows, context: Context) -> None:
    """What is in a document is there because something leads to it. FHIR R4 documents.html#content"""
    links = rows.links()
    reached, pending = {0}, [0]
    while pending:
        pending += (more := links[pending.pop()] - reached)
        reached |= more
    for place, row in enumerate(rows.rows):
        resource = row.get("resource")
        is_binary = isinstance(resource, dict) and resource.get("resourceType") == "Binary"
        if place not in reached and not is_binary:
            context.doubt((item.where, "entry", place), UNREACHED)
