"""The cases of HL7's terminology ecosystem that concern what is offered here, as compact data:
`python -m tests.terminology.gather FOLDER`, the folder with `test-cases.json`.

Origin: HL7 FHIR Terminology Ecosystem IG, `tests/`; licence CC0 1.0 (public domain). Of an expected expansion
the codes are kept, of an expected validation `result` and `display`, of an expected refusal that it is one.
Cases with parameters that only that ecosystem has are left out.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "tx_ecosystem.json.gz"
SUITES = (
    "simple-cases",
    "validation",
    "inactive",
    "case",
    "exclude",
    "search",
    "other",
    "errors",
    "regex-bad",
)
ADDRESSES = {
    "expand": "/ValueSet/$expand",
    "validate-code": "/ValueSet/$validate-code",
    "cs-validate-code": "/CodeSystem/$validate-code",
    "lookup": "/CodeSystem/$lookup",
}
PARAMETERS = frozenset(
    {
        "url", "valueSet", "code", "system", "coding", "codeableConcept", "display", "displayLanguage",
        "abstract", "filter", "offset", "count", "excludeNested", "includeDesignations", "includeDefinition",
        "version", "excludeNotForUI", "valueSetVersion", "property", "date", "lenient-display-validation",
        "inferSystem",
    }
)  # fmt: skip
KEPT = (
    "resourceType", "id", "url", "version", "name", "status", "content", "caseSensitive", "hierarchyMeaning",
    "property", "concept", "compose", "contained", "supplements",
)  # fmt: skip
Json = dict[str, Any]


def expected(answer: Json) -> Any:
    """Sorted codes, or result and display, or "refused"."""
    if answer["resourceType"] == "OperationOutcome":
        return "refused"
    if answer["resourceType"] == "ValueSet":
        found: list[str] = []
        pending = list(answer["expansion"].get("contains", ()))
        for row in pending:
            found += [row["code"]] if "code" in row else []
            pending.extend(row.get("contains", ()))
        return sorted(found)
    rows = {row["name"]: row for row in answer["parameter"]}
    return {
        name: next(value for key, value in rows[name].items() if key.startswith("value"))
        for name in ("result", "display")
        if name in rows
    }


def main(folder: Path) -> None:
    """Read the folder, write the cases."""

    def read(name: str) -> Json:
        found: Json = json.loads((folder / name).read_text("utf-8-sig"))
        return found

    made = []
    for suite in read("test-cases.json")["suites"]:
        if suite["name"] not in SUITES:
            continue
        cases = []
        for case in suite["tests"]:
            if case["operation"] not in ADDRESSES or case.get("mode", "general") != "general":
                continue
            rows = read(case["request"])["parameter"]
            if all(row["name"] in PARAMETERS for row in rows):
                answer = expected(read(case["response"]))
                cases.append([case["name"], ADDRESSES[case["operation"]], rows, answer])
        setup = [{key: one[key] for key in KEPT if key in one} for one in map(read, suite["setup"])]
        made.append({"name": suite["name"], "setup": setup, "cases": cases})
    CASES.write_bytes(gzip.compress(json.dumps(made, separators=(",", ":")).encode(), mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
