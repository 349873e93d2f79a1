"""A small fictitious world for searches: each kind of search parameter, with near misses."""

from __future__ import annotations

from typing import Any

from fhir_server.access import Access
from fhir_server.search import evaluate, plan
from fhir_server.search.index import extract
from profiles import codec
from tests.rest.serving import BASE, Served

UCUM, LOINC = "http://unitsofmeasure.org", "http://loinc.org"
Json = dict[str, Any]


def _patient(id: str, **more: Any) -> Json:
    return {"resourceType": "Patient", "id": id, **more}


def _observation(id: str, code: str, **more: Any) -> Json:
    coding = {"system": LOINC, "code": code, "display": f"Mesure {code}"}
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"coding": [coding]}, **more}


def _mg(value: float, **more: Any) -> Json:
    return {"value": value, "unit": "mg", "system": UCUM, "code": "mg", **more}


def _risk(id: str, probability: float) -> Json:
    return {
        "resourceType": "RiskAssessment",
        "id": id,
        "status": "final",
        "subject": {"reference": "Patient/p1"},
        "prediction": [{"probabilityDecimal": probability}],
    }


def _value_set(id: str, url: str) -> Json:
    return {"resourceType": "ValueSet", "id": id, "status": "draft", "url": url}


WORLD: list[Json] = [
    {"resourceType": "Organization", "id": "top", "name": "Tête"},
    {
        "resourceType": "Organization",
        "id": "part",
        "name": "Partie",
        "partOf": {"reference": "Organization/top"},
    },
    {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Médecin"}], "gender": "female"},
    {
        "resourceType": "PractitionerRole",
        "id": "role",
        "practitioner": {"reference": "Practitioner/doc"},
        "organization": {"reference": "Organization/part"},
    },
    _patient(
        "p1",
        name=[{"family": "Lefèvre", "given": ["Zoë"]}],
        gender="female",
        birthDate="1980-02-10",
        identifier=[
            {
                "system": "urn:ins",
                "value": "1,2|3$4\\5",
                "type": {"coding": [{"system": "urn:t", "code": "INS"}], "text": "Matricule"},
            }
        ],
        managingOrganization={"reference": "Organization/part"},
        generalPractitioner=[{"reference": "Practitioner/doc"}],
        meta={
            "tag": [{"system": "urn:tag", "code": "t"}],
            "profile": ["http://profiles.example/a/b"],
            "security": [{"code": "R"}],
            "source": "http://source.example/x/y",
        },
    ),
    _patient(
        "p2",
        name=[{"family": "LEFEVRE-DUPONT"}, {"family": "Zoë"}],
        gender="male",
        birthDate="1980-02",
        deceasedBoolean=False,
        identifier=[
            {"system": "urn:ipp", "value": "12", "type": {"coding": [{"system": "urn:t", "code": "IPP"}]}}
        ],
        generalPractitioner=[{"identifier": {"system": "urn:rpps", "value": "9"}, "display": "Dr Inconnu"}],
        link=[{"other": {"reference": "Patient/p1"}, "type": "seealso"}],
    ),
    _patient("p3", birthDate="1981", contact=[{"name": {"text": "Lefevre"}}]),
    _observation(
        "o1",
        "1-1",
        subject={"reference": "Patient/p1"},
        effectiveDateTime="2024-02-10T10:00:00+01:00",
        valueQuantity=_mg(100),
        performer=[{"reference": "Practitioner/doc"}],
        encounter={"reference": "Encounter/e1"},
    ),
    _observation(
        "o2",
        "1-1",
        subject={"reference": "Patient/p2"},
        effectivePeriod={"start": "2024-02-01", "end": "2024-02-20"},
        valueQuantity=_mg(105.5),
        hasMember=[{"reference": "Observation/o1"}],
    ),
    _observation(
        "o3",
        "2-2",
        subject={"reference": "Patient/p1"},
        effectiveDateTime="2024",
        valueQuantity={"value": 100, "unit": "points"},
        component=[
            {"code": {"coding": [{"code": "s"}]}, "valueQuantity": _mg(7)},
            {"code": {"coding": [{"code": "d"}]}, "valueQuantity": _mg(5)},
        ],
        hasMember=[{"reference": "Observation/o2"}],
    ),
    _observation("o4", "2-2", effectiveDateTime="2023-12-31T23:30:00Z", valueQuantity=_mg(5, comparator="<")),
    _observation(
        "o5", "3-3", valueString="Œil rouge", subject={"reference": "https://other.example/Patient/p1"}
    ),
    {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "finished",
        "class": {"system": "urn:class", "code": "AMB"},
        "subject": {"reference": "Patient/p1"},
        "serviceProvider": {"reference": "Organization/part"},
    },
    _risk("r1", 0.1),
    _risk("r2", 0.55),
    _risk("r3", 0.9),
    _value_set("v1", "http://terms.example/a"),
    _value_set("v2", "http://terms.example/a/b"),
    _value_set("v3", "http://terms.example/ab"),
    {"resourceType": "Location", "id": "l1", "position": {"latitude": 43.6045, "longitude": 1.444}},
    {"resourceType": "Location", "id": "l2", "position": {"latitude": 42.9655, "longitude": 1.6053}},
    {
        "resourceType": "Questionnaire",
        "id": "q1",
        "status": "draft",
        "url": "http://q.example/q",
        "version": "1",
    },
    {
        "resourceType": "Questionnaire",
        "id": "q2",
        "status": "draft",
        "url": "http://q.example/q",
        "version": "2",
    },
    *(
        {"resourceType": "QuestionnaireResponse", "id": id, "status": "completed", "questionnaire": canonical}
        for id, canonical in (("qr1", "http://q.example/q|1"), ("qr2", "http://q.example/q"))
    ),
    {
        "resourceType": "List",
        "id": "list",
        "status": "current",
        "mode": "working",
        "entry": [{"item": {"reference": "Patient/p1"}}, {"item": {"reference": "Observation/o4"}}],
    },
]


async def fill(served: Served) -> evaluate.Memory:
    """Stores the world by PUT; gives the same to the reference evaluator."""
    client, memory = served.client(), evaluate.Memory()
    for seq, resource in enumerate(WORLD):
        key = f"{resource['resourceType']}/{resource['id']}"
        answer = await client.put(f"/{key}", json=resource)
        assert answer.status_code == 201, answer.text
        entries = extract(codec.parse(answer.content), BASE, served.engine.settings.zone)
        memory.views[key] = evaluate.View(*key.split("/"), entries, seq)  # type: ignore[arg-type]
    return memory


def evaluated(
    served: Served, memory: evaluate.Memory, access: Access, type: str, pairs: list[tuple[str, str]]
) -> set[str]:
    """What the reference evaluator finds."""
    settings = served.engine.settings
    where = plan.plan(type, pairs, access, fhir_base=BASE, zone=settings.zone).select.where
    return {view.id for view in memory.all_of(type) if evaluate.matches(where, view, memory)}
