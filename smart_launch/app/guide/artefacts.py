"""Every definition of the guide by `Type/id`, what leads to it, and how it is called."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from profiles import packages
from profiles.folding import fold
from profiles.packages.making import examples
from profiles.packages.making.examples import Example

Json = dict[str, Any]
BASE = "https://teledossier.example/fhir"
FHIR_SITE = "https://hl7.org/fhir/R4"
TOPIC = "extension-SubscriptionTopic."
SECTIONS = (
    "profile",
    "PlanDefinition",
    "Questionnaire",
    "OperationDefinition",
    "CodeSystem",
    "ValueSet",
    "extension",
    "SearchParameter",
    "NamingSystem",
    "topic",
    "CapabilityStatement",
)
"""The index's sections in their order; an ImplementationGuide is the index itself."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """One definition. `section` is its resource type, but for profiles, extensions and topics."""

    resource: Json
    section: str

    @property
    def key(self) -> str:
        return f"{self.resource['resourceType']}/{self.resource['id']}"

    @property
    def url(self) -> str:
        """The canonical URL; a NamingSystem has that of its identifiers."""
        if self.section == "topic":
            return str(topic(self.resource)["url"])
        if self.section == "NamingSystem":
            return str(self.resource["uniqueId"][0]["value"])
        return str(self.resource["url"])

    @property
    def title(self) -> str:
        if self.section == "topic":
            return str(topic(self.resource)["title"])
        if self.section == "NamingSystem":
            return str(self.resource["id"])
        return str(self.resource.get("title") or self.resource.get("code") or self.resource["name"])

    @property
    def description(self) -> str:
        return str(self.resource.get("description", ""))

    @property
    def address(self) -> str:
        """Of its page."""
        return f"/guide/{self.key}"


def topic(basic: Json) -> Json:
    """The elements of a SubscriptionTopic written as a Basic: name → value, or the parts of a complex one."""
    found: Json = {}
    for one in basic["extension"]:
        found[one["url"].rpartition(TOPIC)[2]] = _value(one)
    return found


def _value(extension: Json) -> Any:
    if "extension" in extension:
        return {part["url"]: _value(part) for part in extension["extension"]}
    return next(value for name, value in extension.items() if name.startswith("value"))


@cache
def all_of_them() -> Mapping[str, Artefact]:
    """By key, in the order of the files."""
    made = [Artefact(one, _section(one)) for one in packages.resources()]
    return {one.key: one for one in made}


def _section(resource: Json) -> str:
    type = str(resource["resourceType"])
    if type == "StructureDefinition":
        return "extension" if resource["type"] == "Extension" else "profile"
    return "topic" if type == "Basic" else type


def of(section: str) -> list[Artefact]:
    """Those of a section, by title; of value sets those that are not simply all codes of a code system of the
    same name, which leads to them."""
    every = all_of_them()
    found = [one for one in every.values() if one.section == section]
    if section == "ValueSet":
        found = [one for one in found if f"CodeSystem/{one.resource['id']}" not in every]
    return sorted(found, key=lambda one: fold(one.title))


@cache
def _by_url() -> Mapping[str, Artefact]:
    return {one.url: one for one in all_of_them().values()}


def named(url: str) -> Artefact | None:
    """The definition of a canonical URL; None for one that is not ours."""
    return _by_url().get(url.partition("|")[0])


def address(url: str) -> str:
    """Where a canonical URL is explained: a page of ours, the standard's site, or "" for neither."""
    found = named(url)
    if found is not None:
        return found.address
    core = "http://hl7.org/fhir/StructureDefinition/"
    if url.startswith(core):
        name = url.removeprefix(core)
        return (
            f"{FHIR_SITE}/{name.lower()}.html" if name[:1].isupper() else f"{FHIR_SITE}/extension-{name}.html"
        )
    return ""


@cache
def leading_to(url: str) -> tuple[Artefact, ...]:
    """The definitions that name this URL, itself and the guide's own list left out."""
    wanted = json.dumps(url)
    return tuple(
        one
        for one in all_of_them().values()
        if one.url != url
        and one.section not in ("ImplementationGuide", "CapabilityStatement")
        and wanted in json.dumps(one.resource)
    )


@cache
def examples_of(profile: str) -> tuple[Example, ...]:
    """The valid example of a profile (by id), then the invalid ones."""
    return tuple(one for one in _examples() if one.profile == profile)


@cache
def _examples() -> tuple[Example, ...]:
    return (*examples.valid(), *examples.invalid())


def example(profile: str, name: str) -> Example | None:
    return next((one for one in examples_of(profile) if one.name == name), None)


def displays(code_system: str) -> Mapping[str, str]:
    """Code → French words of one of our code systems."""
    concepts: Iterable[Json] = all_of_them()[f"CodeSystem/{code_system}"].resource["concept"]
    return {one["code"]: one["display"] for one in concepts}
