"""HL7's FHIRPath suite as compact data: `python -m tests.profiles.fhirpath_suite.make FOLDER` reads
`tests-fhir-r4.xml` and `inputs/*.json` there and writes `cases.jsonl` and `inputs.json` beside this file.

The same folder gives the same bytes. A case keeps its group, name, expression, input, outputs (type, text)
and what the suite says of it: `invalid`, `predicate`, `ordered`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

HERE = Path(__file__).parent


def cases(source: Path) -> list[dict[str, Any]]:
    """Every case in the suite's order."""
    return [
        _case(group.get("name", ""), test)
        for group in ElementTree.parse(source).getroot().iter("group")
        for test in group.iter("test")
    ]


def _case(group: str, test: ElementTree.Element) -> dict[str, Any]:
    expression = test.find("expression")
    assert expression is not None
    case: dict[str, Any] = {"group": group, "name": test.get("name"), "expression": expression.text or ""}
    if "inputfile" in test.attrib:
        case["input"] = test.attrib["inputfile"].rsplit(".", 1)[0]
    if "invalid" in expression.attrib:
        case["invalid"] = expression.attrib["invalid"]
    if test.get("predicate") == "true":
        case["predicate"] = True
    if test.get("ordered") == "false":
        case["ordered"] = False
    outputs = [[output.get("type", ""), output.text or ""] for output in test.findall("output")]
    if outputs:
        case["output"] = outputs
    return case


def _one_line(path: Path) -> str:
    return " ".join(line.strip() for line in path.read_text().splitlines())


def main(folder: Path) -> None:
    made = cases(folder / "tests-fhir-r4.xml")
    lines = (json.dumps(case, ensure_ascii=False, separators=(",", ":")) + "\n" for case in made)
    (HERE / "cases.jsonl").write_text("".join(lines))
    inputs = sorted((folder / "inputs").glob("*.json"))
    rows = (f"{json.dumps(path.stem)}:{_one_line(path)}" for path in inputs)
    (HERE / "inputs.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
