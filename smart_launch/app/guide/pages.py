"""The guide's addresses: `/guide`, a page for each definition and each example, and all of it as FHIR.

Open to everybody: it says nothing about anybody. Pages are made once per process; they need no script.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from profiles.packages.making import archive
from profiles.packages.making.common import laid_out
from profiles.packages.making.conformance import manifest
from smart_launch.app.guide import artefacts, structures, vocabulary
from smart_launch.app.guide.artefacts import Artefact
from smart_launch.app.rendering import PAGE_HEADERS, failure, markup

FRESH = "public, max-age=300"
TEMPLATES = {
    "profile": "profil",
    "extension": "extension",
    "CodeSystem": "codes",
    "ValueSet": "codes",
    "Questionnaire": "formulaire",
    "PlanDefinition": "workflow",
    "OperationDefinition": "operation",
    "SearchParameter": "recherche",
    "NamingSystem": "identifiant",
    "topic": "abonnement",
    "CapabilityStatement": "serveur",
}


def routes() -> list[BaseRoute]:
    file = _file_name()
    return [
        Route("/guide", index),
        Route("/guide/", index),
        Route(f"/guide/{file}", package),
        Route("/guide/exemples/{profile}/{name}", example),
        Route("/guide/{type}/{id}", definition),
    ]


async def index(request: Request) -> Response:
    return _page(request, _index())


async def package(request: Request) -> Response:
    """The package file that `make package` builds."""
    headers = {"Content-Disposition": f'attachment; filename="{_file_name()}"'}
    return _answer(request, _package(), "application/gzip", headers)


async def definition(request: Request) -> Response:
    """A definition's page, or with `.json` the definition."""
    type, id = request.path_params["type"], request.path_params["id"]
    found = artefacts.all_of_them().get(f"{type}/{id.removesuffix('.json')}")
    if found is None:
        return failure(404, back="/guide")
    if id.endswith(".json"):
        return _json(request, found.resource)
    if found.section == "ImplementationGuide":
        return _page(request, _index())
    return _page(request, _definition(found.key))


async def example(request: Request) -> Response:
    """An example's page, or with `.json` the example."""
    profile, name = request.path_params["profile"], request.path_params["name"]
    found = artefacts.example(profile, name.removesuffix(".json"))
    if found is None:
        return failure(404, back="/guide")
    if name.endswith(".json"):
        return _json(request, found.resource)
    return _page(request, _example(profile, found.name))


@cache
def _index() -> str:
    sections = [(section, artefacts.of(section)) for section in artefacts.SECTIONS]
    return _made("index", sections=sections, package=_file_name(), about=manifest())


@cache
def _definition(key: str) -> str:
    found = artefacts.all_of_them()[key]
    return _made(TEMPLATES[found.section], found=found, json_of=_text(found.resource), **_details(found))


@cache
def _example(profile: str, name: str) -> str:
    found = artefacts.example(profile, name)
    assert found is not None
    of = artefacts.all_of_them()[f"StructureDefinition/{profile}"]
    others = artefacts.examples_of(profile)
    return _made("exemple", example=found, profile=of, others=others, json_of=_text(found.resource))


@cache
def _package() -> bytes:
    return archive.build()


def _file_name() -> str:
    about = manifest()
    return f"{about['name']}-{about['version']}.tgz"


def _details(found: Artefact) -> dict[str, Any]:
    """What a definition's template shows besides the definition itself."""
    resource = found.resource
    details: dict[str, Any] = {"users": artefacts.leading_to(found.url)}
    match found.section:
        case "profile":
            details |= {"rows": structures.rows(resource), "rules": structures.rules(resource)}
            details["examples"] = artefacts.examples_of(resource["id"])
        case "extension":
            details |= {"rows": structures.rows(resource), "contexts": structures.contexts(resource)}
        case "CodeSystem" | "ValueSet":
            details["codes"] = vocabulary.codes(resource)
        case "Questionnaire":
            details |= {"questions": vocabulary.questions(resource), "plan": vocabulary.plan_of(resource)}
        case "PlanDefinition":
            details |= {"steps": vocabulary.steps(resource), "form": vocabulary.form_of(resource)}
        case "OperationDefinition":
            details["call"] = vocabulary.call(resource)
            details["given"] = vocabulary.parameters(resource, "in")
            details["returned"] = vocabulary.parameters(resource, "out")
        case "topic":
            details["topic"] = artefacts.topic(resource)
        case "CapabilityStatement":
            details["link"] = structures.link
    return details


def _made(template: str, **context: Any) -> str:
    return markup(f"guide/{template}.html", context)


def _text(resource: dict[str, Any]) -> str:
    return laid_out(resource) + "\n"


def _page(request: Request, text: str) -> Response:
    return _answer(request, text.encode(), "text/html; charset=utf-8", {})


def _json(request: Request, resource: dict[str, Any]) -> Response:
    return _answer(request, _text(resource).encode(), "application/fhir+json; charset=utf-8", {})


def _answer(request: Request, body: bytes, type: str, headers: dict[str, str]) -> Response:
    """With its ETag, or 304 for who has it. RFC 9110 §13.1.2"""
    etag = '"' + hashlib.sha256(body).hexdigest()[:32] + '"'
    headers = {**PAGE_HEADERS, "Cache-Control": FRESH, "ETag": etag, "Content-Type": type, **headers}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers)
