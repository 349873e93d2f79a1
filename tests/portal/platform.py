"""The real rooms under the portal: store, FHIR, domain, DICOMweb; only sign-in is a cookie that names the
person.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomweb.images import Images, open_images
from dicomweb.ingest import Arrival, ingest
from dicomweb.mount import DicomWeb
from fhir_server import access as rights
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.operations.registry import Operations
from fhir_server.rest.routes import before
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Store
from fhir_server.store.files import Files
from fhir_server.teledossier import membership, operations, rule
from simulators.modality.exams import Exam, Person
from simulators.modality.generate import generate
from smart_launch.app.routes import routes as portal_routes
from tests.portal import directory

COOKIE = "qui"
Json = dict[str, Any]
STUDY = "2.25.62010730222331027697938994630210447462"


class CookieGuard:
    """Stands in for the guard: the cookie names the person, who gets exactly a person's rights."""

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app, self._store = app, store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            person = Request(scope).cookies.get(COOKIE, "p08")
            audience = await membership.audience(self._store, person)
            scopes = (rights.Scope("*", "rs"), rights.Scope("Binary", "c"))
            scope["access"] = rights.Access(f"Practitioner/{person}", scopes, audience)
        await self._app(scope, receive, send)


@dataclass
class Platform:
    """`app` is the whole; `system` writes as the platform; `calls` are the paths the portal asked."""

    app: ASGIApp
    settings: Settings
    engine: Engine
    images: Images
    calls: list[str] = field(default_factory=list)

    @property
    def system(self) -> Fhir:
        return Fhir(self.engine, rights.SYSTEM)

    def as_(self, person: str, base_url: str = "http://portail.test") -> httpx.AsyncClient:
        """A browser without scripts, signed in as this person."""
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(
            transport=transport, base_url=base_url, cookies={COOKIE: person}, trust_env=False
        )

    async def operation(self, person: str, path: str, parameters: Sequence[Json]) -> Json:
        body = {"resourceType": "Parameters", "parameter": list(parameters)}
        async with self.as_(person) as client:
            answer = await client.post(f"/fhir/ServiceRequest{path}", json=body)
        assert answer.status_code < 300, answer.text
        found: Json = answer.json()
        return found

    async def step(self, person: str, id: str, step: str, **more: Any) -> Json:
        parameters: list[Json] = [{"name": "step", "valueCode": step}]
        parameters += [
            {"name": name, "valueString": value} for name, value in more.items() if name != "minutes"
        ]
        if "minutes" in more:
            parameters.append({"name": "minutes", "valueInteger": more["minutes"]})
        return await self.operation(person, f"/{id}/$step", parameters)

    async def draft(self, person: str = "p08", workflow: str = "avis-avc-aigu", **patient: str) -> str:
        """The id of a new draft."""
        parameters: list[Json] = [
            {"name": "workflow", "valueCode": workflow},
            {"name": "patient", "resource": directory.patient(**patient)},
            {
                "name": "author",
                "valueReference": {"reference": f"PractitionerRole/{directory.post(person)}"},
            },
        ]
        return str((await self.operation(person, "/$start", parameters))["id"])

    async def sent(self, person: str = "p08", **patient: str) -> str:
        """The id of a stroke request that was filled and sent to Toulouse."""
        id = await self.draft(person, **patient)
        await self.operation(person, f"/{id}/$save", STROKE)
        await self.step(person, id, "send")
        return id

    async def exam(self, id: str, folder: Path, *, series: int = 3, images: int = 24) -> str:
        """A generated MR study, taken in, and its ImagingStudy on the télédossier; its UID."""
        person = Person("LABORDE", "Henri", "19530517", "M", "AU-300003", "ch-auch", "153053299010337")
        description = "IRM cérébrale AVC : diffusion, FLAIR, T2*, ARM TOF"
        moment = datetime(2024, 8, 8, 5, 8)
        made = Exam(
            "ex01",
            STUDY,
            "AUCH-24-08812",
            "MR",
            description,
            "encéphale",
            moment,
            series,
            images,
            128,
            "ch-auch",
            person,
        )
        for path in generate(made, folder):
            spooled = self.images.files.spool / path.name
            spooled.write_bytes(path.read_bytes())
            ingest(spooled, Arrival(1_000_000, "MR1", "ch-auch"), self.images.files, self.images.index)
        request = await self.system.read("ServiceRequest", id)
        study: Json = {
            "resourceType": "ImagingStudy",
            "status": "available",
            "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}],
            "subject": request["subject"],
            "basedOn": [{"reference": f"ServiceRequest/{id}"}],
            "started": "2024-08-08T05:08:00+02:00",
            "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR"}],
            "numberOfSeries": series,
            "numberOfInstances": images,
            "description": description,
        }
        await self.system.create(study)
        return STUDY


def _text(link: str, value: str) -> Json:
    return {"linkId": link, "answer": [{"valueString": value}]}


STROKE: list[Json] = [
    {
        "name": "answers",
        "resource": {
            "resourceType": "QuestionnaireResponse",
            "status": "in-progress",
            "questionnaire": f"{directory.BASE}/Questionnaire/avis-avc-aigu",
            "item": [
                {"linkId": "onset", "answer": [{"valueDateTime": "2024-08-08T04:05:00+02:00"}]},
                {"linkId": "last-seen-well", "answer": [{"valueDateTime": "2024-08-08T04:00:00+02:00"}]},
                {"linkId": "nihss", "answer": [{"valueInteger": 14}]},
                _text("signs", "Hémiplégie droite, aphasie globale, déviation du regard à gauche"),
                {"linkId": "rankin-before", "answer": [{"valueInteger": 0}]},
                _text("blood-pressure", "168/92"),
                {"linkId": "glucose", "answer": [{"valueDecimal": 1.24}]},
                {"linkId": "weight", "answer": [{"valueDecimal": 74}]},
                _text("contraindications", "aucune connue"),
                _text("question", "Indication de thrombolyse et de thrombectomie ?"),
            ],
        },
    },
    {"name": "recipient", "valueReference": {"reference": "Organization/neurovasc-tls"}},
    {"name": "visibility", "valueCode": "community"},
    {"name": "priority", "valueCode": "stat"},
    {
        "name": "consent",
        "part": [
            {"name": "state", "valueCode": "impossible"},
            {
                "name": "text",
                "valueString": "Patient aphasique. Information donnée à l'épouse. Urgence vitale.",
            },
        ],
    },
]


@asynccontextmanager
async def platform(folder: Path, base_url: str = "http://portail.test") -> AsyncIterator[Platform]:
    """Everything open on `folder`, the directory loaded."""
    settings = Settings(
        store=f"sqlite:///{folder / 'teledossier.db'}", files=str(folder / "files"), base_url=base_url
    )
    store = open_store(settings)
    await store.open()
    engine = Engine(
        store=store,
        files=Files(settings.files_path),
        settings=settings,
        now=lambda: time.time_ns() // 1000,
        write_rules=rule.WRITE_RULES,
        operations=Operations(tuple(operations.OPERATIONS)),
    )
    images = open_images(settings, store)
    holder: list[ASGIApp] = []
    portal = portal_routes(lambda: holder[0])
    app = before(Starlette(routes=[DicomWeb(images), *portal]), engine)
    holder.append(CookieGuard(app, store))
    made = Platform(holder[0], settings, engine, images)
    try:
        entries = [
            {
                "fullUrl": f"{settings.fhir_base}/{one['resourceType']}/{one['id']}",
                "resource": one,
                "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"},
            }
            for one in [*directory.resources(), *definitions()]
        ]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        await made.system.transaction(bundle)
        yield made
    finally:
        images.close()
        await store.close()


def definitions() -> list[Json]:
    """The workflows' forms and tables, as the platform's own package holds them."""
    import json

    package = Path(__file__).parents[2] / "profiles" / "packages" / "teledossier"
    paths = [*package.glob("Questionnaire-*.json"), *package.glob("PlanDefinition-*.json")]
    return [json.loads(path.read_text("utf-8")) for path in sorted(paths)]
