"""HL7's own R4 examples, where TELEDOSSIER_R4_EXAMPLES names their archive (tar) or folder; else nothing is
collected.

Every one is accepted, but for those listed here with what is truly wrong in them, and comes back from the
codec with all its meaning; index entries can be made of it.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from fhir_server.search.index import extract
from profiles import codec, xml
from profiles.validation import validate

ARCHIVE = os.environ.get("TELEDOSSIER_R4_EXAMPLES", "")

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
        for name, body in _examples():
            resource = codec.parse(body)
            assert _exact(codec.dump(resource)) == _exact(body), name
            assert _exact(codec.dump(xml.parse(xml.dump(resource)))) == _exact(body), name
            issues = validate(resource)
            extract(resource, "https://here.example/fhir", ZoneInfo("Europe/Paris"))
            if issues:
                wrong[name] = {(issue.slug, issue.expression) for issue in issues}
            count += 1
        assert count > 1700
        assert wrong == WRONG
