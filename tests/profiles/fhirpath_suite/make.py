"""HL7's FHIRPath suite as compact data: `python -m tests.profiles.fhirpath_suite.make FOLDER [R5.xml]` reads
`tests-fhir-r4.xml` and `inputs/*.json` there and writes `cases.jsonl` and `inputs.json` beside this file; of
the R5 suite, where it is named, `later.jsonl`: the cases that R4's has not and whose input is here.

The same files give the same bytes. A case keeps its group, name, expression, input, outputs (type, text) and
what the suite says of it: `invalid`, `predicate`, `ordered`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

HERE = Path(__file__).parent


def cases(source: Path) -> list[dict[str, Any]]:
    """Every case in the suite's order."""
    text = re.sub(r' xmlns="[^"]*"', "", source.read_text())
    return [
        _case(group.get("name", ""), test)
        for group in ElementTree.fromstring(text).iter("group")
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


def _write(name: str, made: list[dict[str, Any]]) -> None:
    lines = (json.dumps(case, ensure_ascii=False, separators=(",", ":")) + "\n" for case in made)
    (HERE / name).write_text("".join(lines))


def main(folder: Path, later: Path | None) -> None:
    made = cases(folder / "tests-fhir-r4.xml")
    _write("cases.jsonl", made)
    inputs = sorted((folder / "inputs").glob("*.json"))
    rows = (f"{json.dumps(path.stem)}:{_one_line(path)}" for path in inputs)
    (HERE / "inputs.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")
    if later is not None:
        known = {case["expression"].strip() for case in made}
        here = {"", *(path.stem for path in inputs)}
        new = [case for case in cases(later) if case["expression"].strip() not in known]
        _write("later.jsonl", [case for case in new if case.get("input", "") in here])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
