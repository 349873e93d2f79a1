"""Answering a query: every value comes by the interactions read and search, so by the reader's rights.

What is asked is checked by the definitions before anything is read, so that a misspelt element is an error
even where no value has it. What cannot be shown (a reference to something that is not there for this reader)
is null with an error beside it; the rest of the answer stands. FHIR R4 graphql.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from graphql.language import ast

from fhir_server.access import Access
from fhir_server.graphql import elements
from fhir_server.graphql.query import Field, Query
from fhir_server.graphql.shaping import Sliced, shaped, slice_name
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.read import read
from fhir_server.interactions.search import search_listing
from profiles import codec, definitions, references
from profiles.outcomes import Invalid, TeledossierError

MOST_RESOURCES, MOST_VALUES = 2_000, 200_000
"""Resources read and values shown by one query."""
Json = dict[str, Any]
Path = tuple[str | int, ...]


@dataclass(slots=True)
class Answer:
    """One query on its way. `errors` are those of parts, with their path."""

    engine: Engine
    access: Access
    query: Query
    errors: list[Json] = field(default_factory=list)
    resources: int = 0
    values: int = 0

    async def system(self) -> Json:
        """`Patient(id:)`, `PatientList(…)`, `PatientConnection(…)`. Raises Invalid."""
        fields = self.query.fields(self.query.selections, "Query")
        for each in fields:
            elements.check_root(self.query, each)
        return {each.key: await self._entry(each, (each.key,)) for each in fields}

    async def instance(self, resource: Json) -> Json:
        """The fields of one resource. Raises Invalid."""
        type = resource["resourceType"]
        elements.check(self.query, self.query.selections, type)
        return await self._object(resource, type, self.query.selections, resource, ())

    async def _entry(self, each: Field, path: Path) -> Any:
        type, form = elements.entry(each)
        if form == "List":
            return await self._list(each, type, (), path)
        if form == "Connection":
            return await self._connection(each, type, path)
        return await self._resource(type, str(each.arguments.get("id")), each, path)

    async def _resource(self, type: str, id: str, each: Field, path: Path) -> Any:
        try:
            version = await read(self.engine, self.access, type, id)
        except TeledossierError as error:
            return self._failed(error, path)
        found = codec.parse(version.body or b"{}")
        self._count_resource()
        return await self._object(found, type, each.selections, found, path)

    async def _list(self, each: Field, type: str, more: Sequence[tuple[str, str]], path: Path) -> Any:
        found = await self._search(each, type, more, path)
        if found is None:
            return None
        return [
            await self._object(entry["resource"], type, each.selections, entry["resource"], (*path, index))
            for index, entry in enumerate(found.get("entry", ()))
            if entry["search"]["mode"] == "match"
        ]

    async def _search(
        self, each: Field, type: str, more: Sequence[tuple[str, str]], path: Path
    ) -> Json | None:
        pairs = [*elements.search_pairs(each), *more]
        try:
            bundle = (await search_listing(self.engine, self.access, type, pairs)).parsed()
        except TeledossierError as error:
            self._failed(error, path)
            return None
        for _ in bundle.get("entry", ()):
            self._count_resource()
        return bundle

    async def _connection(self, each: Field, type: str, path: Path) -> Any:
        bundle = await self._search(each, type, (), path)
        if bundle is None:
            return None
        links = {link["relation"]: _cursor(link["url"]) for link in bundle.get("link", ())}
        shown: Json = {
            "count": bundle.get("total"),
            "offset": None,
            "pagesize": len(bundle.get("entry", ())),
            "first": "" if "prev" in links else None,
            "previous": links.get("prev"),
            "next": links.get("next"),
            "last": None,
        }
        result: Json = {}
        for asked in self.query.fields(each.selections, "Connection"):
            if asked.name == "edges":
                result[asked.key] = await self._edges(asked, bundle, (*path, asked.key))
            else:
                result[asked.key] = shown[asked.name]
        return result

    async def _edges(self, each: Field, bundle: Json, path: Path) -> list[Json]:
        edges = []
        for index, entry in enumerate(bundle.get("entry", ())):
            edge: Json = {}
            for asked in self.query.fields(each.selections, "Edge"):
                if asked.name == "resource":
                    found = entry["resource"]
                    where = (*path, index, asked.key)
                    edge[asked.key] = await self._object(
                        found, found["resourceType"], asked.selections, found, where
                    )
                else:
                    edge[asked.key] = entry["search"].get(asked.name)
            edges.append(edge)
        return edges

    async def _object(
        self, value: Json, type: str, selections: Sequence[ast.SelectionNode], root: Json, path: Path
    ) -> Json:
        """The asked fields of one object; `root` is the resource it stands in, for contained ones."""
        parts: list[tuple[Field, Any]] = []
        for each in self.query.fields(selections, type):
            parts.append((each, await self._field(value, type, each, root, (*path, each.key))))
        return shaped(parts)

    async def _field(self, value: Json, type: str, each: Field, root: Json, path: Path) -> Any:
        self.values += 1
        if self.values > MOST_VALUES:
            raise Invalid("graphql-too-costly", f"the query shows more than {MOST_VALUES} values")
        if each.name in ("resourceType", "__typename"):
            return value.get("resourceType", type)
        if each.name == "resource" and definitions.is_kind_of(type, "Reference"):
            return await self._target(value, each, root, path)
        listed = elements.reverse(each, type)
        if listed is not None:
            source, param = listed
            return await self._list(each, source, [(param, f"{type}/{value.get('id')}")], path)
        found = elements.values(value, type, each)
        shown = []
        for index, (item, of_type) in enumerate(found.values):
            if isinstance(item, dict):
                inner = item.get("resourceType", of_type)
                here = (*path, index) if found.repeats else path
                shown.append(await self._object(item, inner, each.selections, root, here))
            else:
                shown.append(item)
        if "slice" in each.directives:
            names = [slice_name(each, item, of, index) for index, (item, of) in enumerate(found.values)]
            return Sliced(list(zip(names, shown, strict=True)))
        return (shown or None) if found.repeats else (shown[0] if shown else None)

    async def _target(self, value: Json, each: Field, root: Json, path: Path) -> Any:
        """What a Reference leads to. `type` leaves out other types, `optional` says that nothing is no
        error."""
        text = value.get("reference")
        if not isinstance(text, str):
            return None
        link = references.parse(text, self.engine.settings.fhir_base)
        wanted = each.arguments.get("type")
        if link.kind == "fragment":
            inside = [one for one in root.get("contained", ()) if f"#{one.get('id')}" == text]
            if not inside or (wanted and inside[0]["resourceType"] != wanted):
                return None
            return await self._object(inside[0], inside[0]["resourceType"], each.selections, root, path)
        if wanted and link.type != wanted:
            return None
        if link.kind != "local":
            return self._absent(each, path)
        try:
            version = await read(self.engine, self.access, link.type, link.id)
        except TeledossierError:
            return self._absent(each, path)
        found = codec.parse(version.body or b"{}")
        self._count_resource()
        return await self._object(found, link.type, each.selections, found, path)

    def _absent(self, each: Field, path: Path) -> None:
        if each.arguments.get("optional") is not True:
            self.errors.append(
                {"message": "the reference leads to nothing that is there", "path": list(path)}
            )

    def _failed(self, error: TeledossierError, path: Path) -> None:
        self.errors.append({"message": str(error), "path": list(path), "extensions": {"code": error.slug}})

    def _count_resource(self) -> None:
        self.resources += 1
        if self.resources > MOST_RESOURCES:
            raise Invalid("graphql-too-costly", f"the query reads more than {MOST_RESOURCES} resources")


def _cursor(url: str) -> str | None:
    found: Mapping[str, list[str]] = parse_qs(urlsplit(url).query)
    return found.get("_cursor", [None])[0]
