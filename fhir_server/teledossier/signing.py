"""Signing a report: the PDF, its Binary and the DiagnosticReport that says so.

FHIR R4 diagnosticreport.html · binary.html
"""

from __future__ import annotations

import base64
import hashlib

from fhir_server.teledossier.file import Teledossier, outputs
from fhir_server.teledossier.report_content import content
from fhir_server.teledossier.report_words import TITLE
from fhir_server.teledossier.vocabulary import LOINC, REPORT_NUMBER, Resource, key, ref
from fhir_server.teledossier.writing import Author, Writing

REPORT_CODE = {"coding": [{"system": LOINC, "code": "85208-7", "display": "Telehealth Note"}], "text": TITLE}


def sign(file: Teledossier, task: Resource, author: Author, writing: Writing) -> list[str]:
    """Writes report and PDF; their references, the DiagnosticReport's first. The conclusion is the last
    answer."""
    report = content(file, task, author, writing.moment)
    # The PDF library takes a tenth of the start-up time and is needed by this one step alone.
    from fhir_server.teledossier.report import pdf

    document = pdf(report)
    binary = writing.create(
        {
            "resourceType": "Binary",
            "contentType": "application/pdf",
            "securityContext": ref(file.reference),
            "data": base64.b64encode(document).decode("ascii"),
        }
    )
    number = 1 + sum(kind == "report" for one in file.tasks for kind, _ in outputs(one))
    attachment = {
        "contentType": "application/pdf",
        "language": "fr-FR",
        "url": key(binary),
        "size": len(document),
        "hash": base64.b64encode(hashlib.sha1(document).digest()).decode("ascii"),  # noqa: S324 (FHIR asks for SHA-1)
        "title": f"{TITLE} {file.numero}",
        "creation": writing.moment.occurred,
    }
    signed = writing.create(
        {
            "resourceType": "DiagnosticReport",
            "identifier": [{"system": REPORT_NUMBER, "value": f"CR-{file.numero}-{number}"}],
            "basedOn": [ref(file.reference)],
            "status": "final",
            "code": REPORT_CODE,
            "subject": file.request["subject"],
            "effectiveDateTime": writing.moment.occurred,
            "issued": writing.moment.occurred,
            "performer": [ref(author.who, author.name)],
            "resultsInterpreter": [ref(author.who, author.name)],
            "conclusion": report.answers[-1].text if report.answers else "",
            "presentedForm": [attachment],
        }
    )
    return [key(signed), key(binary)]
