"""The directory as pages show it: professionals, their posts, services, establishments, communities.

`Directory` is a bag of already fetched resources and answers with plain values; `DirectorySource` fetches
what is missing and remembers it for a minute. Remembering is safe across persons: the directory is open to
every signed-in reader.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from smart_launch.app import words
from smart_launch.app.fhir import Fhir
from smart_launch.app.views.reading import (
    RPPS_SYSTEM,
    Json,
    by_type,
    code,
    codes,
    extension,
    extensions,
    identifier,
    many,
    own_reference,
    reference,
)

DIRECTORY_TYPES = ("PractitionerRole", "Practitioner", "Organization")
ROUNDS = 4  # role → person, community → service → establishment
CHUNK = 50
ADMINISTRATION = frozenset({"admin-regional", "admin-site"})


@dataclass(frozen=True, slots=True)
class Post:
    """One professional in one place: what a signature block shows (R049, R053, R054)."""

    ref: str = ""
    practitioner: str = ""
    name: str = ""
    short_name: str = ""
    rpps: str = ""
    phone: str = ""
    establishment: str = ""
    service: str = ""
    uf: str = ""
    community: str = ""
    community_ref: str = ""
    roles: tuple[str, ...] = ()
    delegate_of: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return " · ".join(part for part in (self.establishment, self.service or self.community) if part)


@dataclass(frozen=True, slots=True)
class Place:
    """An organization as a recipient or a sender: its own name, its service, its establishment."""

    ref: str = ""
    name: str = ""
    service: str = ""
    establishment: str = ""
    establishment_ref: str = ""


@dataclass(frozen=True, slots=True)
class Directory:
    """Resources by `Type/id`."""

    resources: Mapping[str, Json] = field(default_factory=dict)

    def get(self, ref: str) -> Json:
        return self.resources.get(ref, {})

    def place(self, ref: str) -> Place:
        """Of an Organization, or of the community of a PractitionerRole."""
        organization = self.get(ref)
        if ref.startswith("PractitionerRole/"):
            return self.place(reference(organization.get("organization")))
        kind = code(organization.get("type"))
        parent = reference(organization.get("partOf"))
        service = self.get(reference(extension(organization, "service")))
        name = str(organization.get("name", ""))
        if kind == "etablissement" or (not parent and not service):
            return Place(ref, name, "", name, ref)
        establishment = str(self.get(parent).get("name", ""))
        return Place(
            ref,
            name,
            str(service.get("name", "")) or (name if kind == "service" else ""),
            establishment,
            parent,
        )

    def post(self, ref: str) -> Post:
        """Of a PractitionerRole, or of a bare Practitioner."""
        role = self.get(ref) if ref.startswith("PractitionerRole/") else {}
        person_ref = reference(role.get("practitioner")) if role else ref
        person = self.get(person_ref)
        organization_ref = reference(role.get("organization"))
        organization = self.get(organization_ref)
        place = self.place(organization_ref) if organization_ref else Place()
        service_ref = reference(extension(role, "service")) or reference(extension(organization, "service"))
        if not service_ref and code(organization.get("type")) == "service":
            service_ref = organization_ref
        service = self.get(service_ref)
        is_community = code(organization.get("type")) == "communaute"
        return Post(
            ref=ref,
            practitioner=person_ref,
            name=full_name(person),
            short_name=short_name(person),
            rpps=identifier(person, [RPPS_SYSTEM]),
            phone=phone(role) or phone(person),
            establishment=place.establishment,
            service=str(service.get("name", "")) or place.service,
            uf=unit(service),
            community=place.name if is_community else "",
            community_ref=organization_ref if is_community else "",
            roles=tuple(codes(role.get("code"))),
            delegate_of=tuple(
                reference(item.get("valueReference")) for item in extensions(role, "delegate-of")
            ),
        )

    def who(self, ref: str) -> str:
        """A short name for a timeline or a list: `Dr Durand`, `Urgences CHIVA`."""
        if ref.startswith(("PractitionerRole/", "Practitioner/")):
            return self.post(ref).short_name
        return self.place(ref).name


def human(person: Json) -> Json:
    """The name to use: `usual`, else `official`, else the first."""
    names = [name for name in many(person, "name") if isinstance(name, dict)]
    for use in ("usual", "official"):
        for name in names:
            if name.get("use") == use:
                return name
    return names[0] if names else {}


def capital(name: str) -> str:
    """`LE GOFF` → `Le Goff`, `SERRES-BLANC` → `Serres-Blanc`; a mixed-case name stays as it is."""
    return name.title() if name.isupper() else name


def full_name(person: Json) -> str:
    """`Dr Antoine Durand`."""
    name = human(person)
    parts = [*many(name, "prefix")[:1], *many(name, "given")[:1], capital(str(name.get("family", "")))]
    return " ".join(str(part) for part in parts if part) or str(name.get("text", "")) or words.UNKNOWN_PERSON


def short_name(person: Json) -> str:
    """`Dr Durand`: how colleagues speak of one another, and what the read mark says (R104)."""
    name = human(person)
    parts = [*many(name, "prefix")[:1], capital(str(name.get("family", "")))]
    return " ".join(str(part) for part in parts if part) or full_name(person)


def phone(resource: Json) -> str:
    """The work number, else a mobile, else any."""
    numbers = [
        item for item in many(resource, "telecom") if item.get("system") == "phone" and item.get("value")
    ]
    numbers.sort(key=lambda item: {"work": 0, "mobile": 1}.get(item.get("use", ""), 2))
    return str(numbers[0]["value"]) if numbers else ""


def unit(service: Json) -> str:
    """The UF of a service: the identifier of its establishment's UF system."""
    for item in many(service, "identifier"):
        if "/NamingSystem/uf/" in str(item.get("system", "")):
            return str(item.get("value", ""))
    return ""


def wanted(resource: Json) -> list[str]:
    """The directory references a directory resource leads to."""
    if resource.get("resourceType") == "PractitionerRole":
        refs = [reference(resource.get("practitioner")), reference(resource.get("organization"))]
        refs.append(reference(extension(resource, "service")))
        refs += [reference(item.get("valueReference")) for item in extensions(resource, "delegate-of")]
        return [ref for ref in refs if ref]
    if resource.get("resourceType") == "Organization":
        refs = [reference(resource.get("partOf")), reference(extension(resource, "service"))]
        return [ref for ref in refs if ref]
    return []


class DirectorySource:
    """Fetches directory resources by reference and remembers each for `ttl` seconds."""

    def __init__(self, ttl: float = 60.0, limit: int = 20_000) -> None:
        self._ttl = ttl
        self._limit = limit
        self._known: dict[str, tuple[float, Json]] = {}

    async def load(self, fhir: Fhir, refs: Iterable[str], given: Iterable[Json] = ()) -> Directory:
        """A Directory that answers for `refs` and all they lead to; `given` are resources already at hand."""
        found: dict[str, Json] = {}
        for resource in given:
            if resource.get("resourceType") in DIRECTORY_TYPES:
                found[own_reference(resource)] = resource
        self._remember(found.values())
        open_refs = set(refs) | {ref for resource in found.values() for ref in wanted(resource)}
        for _ in range(ROUNDS):
            missing = [ref for ref in open_refs if ref.split("/")[0] in DIRECTORY_TYPES and ref not in found]
            if not missing:
                break
            for resource in await self._fetch(fhir, missing):
                found[own_reference(resource)] = resource
            open_refs = {ref for resource in found.values() for ref in wanted(resource)}
        return Directory(found)

    async def _fetch(self, fhir: Fhir, refs: list[str]) -> list[Json]:
        now = time.monotonic()
        known = [self._known[ref][1] for ref in refs if ref in self._known and self._known[ref][0] > now]
        have = {own_reference(resource) for resource in known}
        unknown = sorted(ref for ref in refs if ref not in have)
        calls = []
        for type in DIRECTORY_TYPES:
            ids = [ref.split("/")[1] for ref in unknown if ref.startswith(type + "/")]
            for start in range(0, len(ids), CHUNK):
                params = [("_id", ",".join(ids[start : start + CHUNK])), ("_count", str(CHUNK))]
                calls.append(fhir.search(type, params))
        fetched: list[Json] = []
        for page in await asyncio.gather(*calls):
            fetched += page.matches
        self._remember(fetched)
        return known + fetched

    def _remember(self, resources: Iterable[Json]) -> None:
        until = time.monotonic() + self._ttl
        if len(self._known) > self._limit:
            self._known.clear()
        for resource in resources:
            self._known[own_reference(resource)] = (until, resource)


@dataclass(frozen=True, slots=True)
class Me:
    """The person reading the page. `audience` is what the guard computed; None for a machine that sees
    all.
    """

    practitioner: str
    name: str
    posts: tuple[Post, ...]
    audience: frozenset[str] | None

    @property
    def place(self) -> str:
        return self.posts[0].place if self.posts else ""

    @property
    def administers(self) -> bool:
        """Whether a post is one of administration, of the region or of a site."""
        return any(not ADMINISTRATION.isdisjoint(post.roles) for post in self.posts)

    def is_recipient(self, owner: str) -> bool:
        """Whether a Task of this owner is for me: my community, one of my posts, or me."""
        mine = {
            self.practitioner,
            *(post.ref for post in self.posts),
            *(post.community_ref for post in self.posts),
        }
        return bool(owner) and (owner in mine or (self.audience is not None and owner in self.audience))

    def is_author(self, *refs: str) -> bool:
        """Whether one of these posts is mine."""
        return any(ref and ref in {post.ref for post in self.posts} for ref in refs)


async def identify(
    fhir: Fhir, source: DirectorySource, subject: str, audience: frozenset[str] | None
) -> tuple[Me, Directory]:
    """The reader and a directory that knows his posts. A machine has no posts and its own name."""
    if not subject.startswith("Practitioner/"):
        return Me(subject, subject, (), audience), Directory()
    id = subject.split("/")[1]
    page = await fhir.search("PractitionerRole", [("practitioner", subject), ("_count", "50")])
    roles = [role for role in by_type(page.matches, "PractitionerRole") if role.get("active", True)]
    directory = await source.load(fhir, [f"Practitioner/{id}"], roles)
    posts = tuple(directory.post(own_reference(role)) for role in roles)
    # a community post first: it is the one that sends and receives
    posts = tuple(sorted(posts, key=lambda post: (not post.community_ref, post.ref)))
    return Me(subject, full_name(directory.get(subject)), posts, audience), directory
