"""HL7's own R4 examples, where TELEDOSSIER_R4_EXAMPLES names their archive (tar) or folder; else nothing is
collected.

Every one is accepted as `$validate` judges it, but for those listed here with what is truly wrong in them,
and comes back from the codec with all its meaning; index entries can be made of it.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

from fhir_server.search.index import extract
from profiles import codec, xml
from profiles.validation import validator
from terminology import service

ARCHIVE = os.environ.get("TELEDOSSIER_R4_EXAMPLES", "")

UNIT = "dose.ofType(Quantity).code"
DOSE = f"dosageInstruction[0].doseAndRate[0].{UNIT}"
WRONG = {
    # a narrative without any text
    "activitydefinition-servicerequest-example.json": {("bad-format", "ActivityDefinition.text.div")},
    "activitydefinition-supplyrequest-example.json": {("bad-format", "ActivityDefinition.text.div")},
    "eventdefinition-example.json": {("bad-format", "EventDefinition.text.div")},
    # references to types that the element does not allow
    "devicemetric-example.json": {("wrong-target", "DeviceMetric.parent.reference")},
    "deviceusestatement-example.json": {("wrong-target", "DeviceUseStatement.reasonReference[0].reference")},
    "medicationrequest0301.json": {("wrong-target", "MedicationRequest.dispenseRequest.performer.reference")},
    "observation-example-clinical-gender.json": {("wrong-target", "Observation.performer[0].reference")},
    # an id of 67 characters
    "questionnaireresponse-extensions-QuestionnaireResponse-item-subject.json": {
        ("bad-format", "SearchParameter.id")
    },
    # search parameters without the required base
    **{
        f"{name}.json": {("missing-element", "SearchParameter.base")}
        for name in (
            "codesystem-extensions-CodeSystem-author",
            "codesystem-extensions-CodeSystem-effective",
            "codesystem-extensions-CodeSystem-end",
            "codesystem-extensions-CodeSystem-keyword",
            "codesystem-extensions-CodeSystem-workflow",
            "valueset-extensions-ValueSet-effective",
            "valueset-extensions-ValueSet-end",
            "valueset-extensions-ValueSet-keyword",
            "valueset-extensions-ValueSet-workflow",
        )
    },
    # codes that are no unit of UCUM: TAB, tbl, drop, ea, mcg, mEq, month
    "claim-example-pharmacy-compound.json": {("bad-unit", "Claim.item[0].quantity.code")},
    "claim-example-pharmacy-medication.json": {("bad-unit", "Claim.item[0].quantity.code")},
    "document-example-dischargesummary.json": {("bad-unit", f"Bundle.entry[5].resource.{DOSE}")},
    **{
        f"medicationdispense{number}.json": {("bad-unit", f"MedicationDispense.{DOSE}")}
        for number in ("0309", "0324", "0327", "0329")
    },
    **{
        f"medicationrequest{number}.json": {("bad-unit", f"MedicationRequest.{DOSE}")}
        for number in ("0304", "0314", "0325", "0326", "0334", "0335")
    },
    "medicationrequest0319.json": {
        ("bad-unit", "MedicationRequest.dosageInstruction[0].doseAndRate[0].rate.ofType(Quantity).code")
    },
    "medicationrequest0322.json": {
        ("bad-unit", f"MedicationRequest.{DOSE}"),
        ("bad-unit", "MedicationRequest.contained[0].ingredient[0].strength.numerator.code"),
    },
    "visionprescription-example-1.json": {
        ("bad-unit", f"VisionPrescription.lensSpecification[{place}].duration.code") for place in (0, 1)
    },
    # identifiers and codes of urn:ietf:rfc:3986 that are no absolute URI
    "organization-example-good-health-care.json": {("not-a-uri", "Organization.identifier[0].value")},
    "consent.profile.json": {
        ("not-a-uri", f"StructureDefinition.{place}.example[0].value.ofType(Identifier).value")
        for place in ("snapshot.element[9]", "differential.element[1]")
    },
    "contract-example.json": {("unknown-code", "Contract.term[0].asset[0].type[0].coding[0].code")},
    "contract-example-ins-policy.json": {
        ("unknown-code", "Contract.term[0].asset[0].type[0].coding[0].code")
    },
    # full URLs that end with another id than the resource's
    "diagnosticreport-example-lri.json": {
        ("full-url-id", f"Bundle.entry[{place}].fullUrl") for place in range(1, 17)
    },
    "message-request-link.json": {("full-url-id", "Bundle.entry[2].fullUrl")},
    "message-response-link.json": {("full-url-id", "Bundle.entry[3].fullUrl")},
    # definitions that are not abstract and derive from nothing (sdf-4)
    "definition.json": {("invariant", "StructureDefinition")},
    "event.json": {("invariant", "StructureDefinition")},
    "fivews.json": {("invariant", "StructureDefinition")},
    # a body temperature that does not say when it was taken
    "observation-example-f202-temperature.json": {("missing-element", "Observation.effective")},
    # an extension of US Core 1, which no longer exists
    "observation-example-genetics-brcapat.json": {("unknown-extension", "Observation.extension[1]")},
}


def _examples() -> Iterator[tuple[str, bytes]]:
    path = Path(ARCHIVE)
    if path.is_dir():
        yield from ((file.name, file.read_bytes()) for file in sorted(path.rglob("*.json")))
        return
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and member.name.endswith(".json"):
                yield Path(member.name).name, file.read()


def _exact(body: bytes) -> object:
    return json.loads(
        body, parse_float=lambda text: ("number", text), parse_int=lambda text: ("number", text)
    )


if ARCHIVE:

    def test_examples() -> None:
        wrong, count = {}, 0
        judge = replace(validator(codes=service.standard()), strict=True)
        for name, body in _examples():
            resource = codec.parse(body)
            assert _exact(codec.dump(resource)) == _exact(body), name
            assert _exact(codec.dump(xml.parse(xml.dump(resource)))) == _exact(body), name
            issues = [one for one in judge.validate(resource) if one.severity in ("fatal", "error")]
            extract(resource, "https://here.example/fhir", ZoneInfo("Europe/Paris"))
            if issues:
                wrong[name] = {(issue.slug, issue.expression) for issue in issues}
            count += 1
        assert count > 1700
        assert wrong == WRONG
