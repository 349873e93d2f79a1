"""Fictitious resources that between them use every data type and form that the tables treat differently."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

B = "https://teledossier.example/fhir"

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "dupuis",
    "meta": {
        "lastUpdated": "2024-05-06T07:08:09.123Z",
        "profile": [f"{B}/StructureDefinition/patient|1.0"],
        "source": "urn:demo",
        "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}],
        "tag": [{"code": "demo"}],
    },
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Dupuis</div>'},
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/patient-extensions-Patient-mothersMaidenName",
            "valueString": "Lœuillet",
        }
    ],
    "identifier": [
        {
            "use": "official",
            "type": {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "PI"}],
                "text": "IPP",
            },
            "system": f"{B}/NamingSystem/ipp/chiva",
            "value": "0042",
        }
    ],
    "active": True,
    "name": [
        {
            "use": "official",
            "family": "Désirée-Dupuis",
            "given": ["Zoë", "Anne"],
            "prefix": ["Mme"],
            "_given": [None, {"id": "g2"}],
        }
    ],
    "telecom": [
        {"system": "email", "value": "zoe@example.org"},
        {"system": "phone", "value": "+33561000000"},
    ],
    "gender": "female",
    "birthDate": "1950-02",
    "_birthDate": {"extension": [{"url": f"{B}/StructureDefinition/why", "valueCode": "x"}]},
    "deceasedBoolean": False,
    "address": [{"line": ["1 rue de l'Église"], "city": "Foix", "postalCode": "09000", "country": "FR"}],
    "maritalStatus": {"text": "Mariée"},
    "generalPractitioner": [
        {"reference": "Practitioner/p01"},
        {
            "type": "Practitioner",
            "identifier": {"system": "https://rpps.esante.gouv.fr", "value": "89990000013"},
        },
    ],
    "managingOrganization": {
        "reference": "https://here.example/fhir/Organization/chiva/_history/2",
        "display": "CHIVA",
    },
    "link": [{"other": {"reference": "Patient/old"}, "type": "replaces"}],
}

OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "nihss",
    "status": "final",
    "category": [
        {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "survey"}
            ]
        }
    ],
    "code": {
        "coding": [{"system": "http://loinc.org", "code": "70182-1", "display": "NIHSS"}],
        "text": "Score NIHSS",
    },
    "subject": {"reference": "Patient/dupuis"},
    "effectivePeriod": {"start": "2024-05-06T07:00:00+02:00"},
    "valueQuantity": {
        "value": Decimal("5.40"),
        "unit": "points",
        "system": "http://unitsofmeasure.org",
        "code": "{score}",
    },
    "component": [
        {"code": {"text": "a"}, "valueQuantity": {"value": 3, "comparator": "<", "unit": "mg"}},
        {"code": {"text": "b"}, "valueString": "Bien"},
    ],
}

TASK: dict[str, Any] = {
    "resourceType": "Task",
    "status": "requested",
    "intent": "order",
    "focus": {"reference": "ServiceRequest/1"},
    "for": {"reference": "Patient/dupuis"},
    "authoredOn": "2024-05-06",
    "owner": {"reference": "urn:uuid:00000000-0000-4000-8000-000000000000"},
    "businessStatus": {
        "coding": [{"system": f"{B}/CodeSystem/business-status", "code": "lu", "display": "Lu"}]
    },
    "input": [
        {
            "type": {"text": "when"},
            "valueTiming": {
                "event": ["2024-01-01"],
                "repeat": {"frequency": 1, "period": Decimal("1.0"), "periodUnit": "d"},
            },
        },
        {"type": {"text": "n"}, "valueInteger": -3},
        {"type": {"text": "content"}, "valueBase64Binary": "QUJD"},
    ],
}

QUESTIONNAIRE: dict[str, Any] = {
    "resourceType": "Questionnaire",
    "url": f"{B}/Questionnaire/avis",
    "version": "1",
    "status": "active",
    "title": "Demande",
    "useContext": [
        {
            "code": {"code": "task"},
            "valueRange": {"low": {"value": 1, "unit": "a"}, "high": {"value": 3, "unit": "a"}},
        }
    ],
    "item": [
        {
            "linkId": "1",
            "type": "group",
            "item": [{"linkId": "1.1", "type": "choice", "answerOption": [{"valueString": "oui"}]}],
        }
    ],
}

SERVICE_REQUEST: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "id": "1",
    "extension": [
        {"url": f"{B}/StructureDefinition/audience", "valueReference": {"reference": "Practitioner/p01"}},
        {
            "url": f"{B}/StructureDefinition/audience",
            "valueReference": {"reference": "Organization/neurovasc-tls"},
        },
        {"url": f"{B}/StructureDefinition/visibility", "valueCode": "me"},
    ],
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Contenue"}],
    "status": "active",
    "intent": "order",
    "priority": "stat",
    "instantiatesCanonical": [f"{B}/PlanDefinition/avis-avc-aigu|2"],
    "subject": {"reference": "Patient/dupuis"},
    "occurrenceTiming": {"event": ["2024-05-06", "2024-05-08"]},
    "performer": [{"reference": "#o"}, {"reference": "https://there.example/r4/Organization/9"}],
    "requester": {"reference": "PractitionerRole/p01-chiva"},
}

BUNDLE: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "document",
    "identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:00000000-0000-4000-8000-000000000001"},
    "timestamp": "2024-05-06T07:08:09Z",
    "entry": [
        {
            "fullUrl": "https://there.example/fhir/Composition/c",
            "resource": {
                "resourceType": "Composition",
                "id": "c",
                "status": "final",
                "type": {"text": "t"},
                "date": "2024",
                "author": [{"display": "a"}],
                "title": "T",
            },
        }
    ],
}

BINARY: dict[str, Any] = {
    "resourceType": "Binary",
    "contentType": "application/pdf",
    "securityContext": {"reference": "ServiceRequest/1"},
    "data": "QUJD",
}

PARAMETERS: dict[str, Any] = {
    "resourceType": "Parameters",
    "parameter": [
        {"name": "step", "valueCode": "send"},
        {
            "name": "parts",
            "part": [{"name": "at", "valueInstant": "2024-05-06T07:08:09Z"}, {"name": "r", "resource": TASK}],
        },
    ],
}

EXAMPLES = (PATIENT, OBSERVATION, TASK, QUESTIONNAIRE, SERVICE_REQUEST, BUNDLE, BINARY)
"""Those that search parameters reach into."""
ALL = (*EXAMPLES, PARAMETERS)
