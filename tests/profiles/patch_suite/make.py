"""Makes cases.json of the three files that HL7 publishes.

`python -m tests.profiles.patch_suite.make FOLDER`
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from profiles import codec, xml

_CASE = re.compile(r'<case name="([^"]*)"(?: mode="[^"]*")?>(.*?)</case>', re.DOTALL)
_UNUSED = re.compile(r"<!--(?:\s*no need for this)?\s*<case.*?</case>\s*-->", re.DOTALL)


def _part(body: str, tag: str) -> str | None:
    found = re.search(rf"<{tag}(?: [^>]*)?>(.*)</{tag}>", body, re.DOTALL)
    return found and re.sub(r">\s+<", "><", found[1].strip())


def _fhirpath(text: str) -> list[dict[str, Any]]:
    cases = []
    for name, body in _CASE.findall(text):
        case: dict[str, Any] = {"name": name}
        for tag, key in (("input", "document"), ("diff", "patch"), ("output", "expected")):
            found = re.search(rf"<{tag}>(.*)</{tag}>", body, re.DOTALL)
            if found:
                case[key] = json.loads(codec.dump(xml.parse(found[1].strip().encode())))
        cases.append(case)
    return cases


def _xml(text: str) -> list[dict[str, Any]]:
    cases = []
    for name, body in _CASE.findall(_UNUSED.sub("", text)):
        patch = re.search(r"<patch.*</patch>", body, re.DOTALL)
        assert patch, name
        case = {"name": name, "document": _part(body, "target") or "", "patch": patch[0]}
        if "<patched>" in body:
            case["expected"] = _part(body, "patched")
        cases.append(case)
    return cases


def _json(text: str) -> list[dict[str, Any]]:
    names = {"comment": "name", "doc": "document", "patch": "patch", "expected": "expected"}
    return [{names[k]: v for k, v in case.items() if k in names} for case in json.loads(text)]


def main(folder: Path) -> None:
    """Writes the cases beside this file."""
    made = {
        "fhirpath": _fhirpath((folder / "fhir-patch-tests.xml").read_text("utf-8")),
        "json": _json((folder / "json-patch-tests.json").read_text("utf-8")),
        "xml": _xml((folder / "xml-patch-tests.xml").read_text("utf-8")),
    }
    lines = [
        f'"{kind}": [\n' + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]"
        for kind, cases in made.items()
    ]
    Path(__file__).with_name("cases.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
