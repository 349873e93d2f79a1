"""The table of units, made from UCUM's own list: `python -m profiles.quantities.generate ucum-essence.xml`.

Writes `ucum.tsv` beside this file, the same bytes for the same list: one prefix or unit a line, with tabs

    prefix   code   value
    unit     code   flags   value   unit   function

flags: b base unit, m metric (takes prefixes), a arbitrary (comparable with itself alone). `function` is that
of a special unit ("Cel", "lg", …), and then value and unit are what it applies to. Codes and figures only: no
names, no symbols.

UCUM 2.2, https://ucum.org/ucum
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

TABLE = Path(__file__).parent / "ucum.tsv"
NAMESPACE = {"u": "http://unitsofmeasure.org/ucum-essence"}


def rows(essence: ElementTree.Element) -> Iterator[tuple[str, ...]]:
    """The lines of the table in the order of the list."""
    for prefix in essence.iterfind("u:prefix", NAMESPACE):
        yield "prefix", prefix.attrib["Code"], _value(prefix).attrib["value"]
    for base in essence.iterfind("u:base-unit", NAMESPACE):
        yield "unit", base.attrib["Code"], "bm", "1", "1", ""
    for unit in essence.iterfind("u:unit", NAMESPACE):
        flags = "m" * (unit.get("isMetric") == "yes") + "a" * (unit.get("isArbitrary") == "yes")
        value = _value(unit)
        function = value.find("u:function", NAMESPACE)
        source = value if function is None else function
        name = "" if function is None else function.attrib["name"]
        yield "unit", unit.attrib["Code"], flags, source.attrib["value"], source.attrib["Unit"], name


def _value(of: ElementTree.Element) -> ElementTree.Element:
    found = of.find("u:value", NAMESPACE)
    assert found is not None
    return found


def main(essence: Path) -> None:
    """Read the list, write the table."""
    root = ElementTree.parse(essence).getroot()  # noqa: S314 - the operator's own file
    TABLE.write_text("".join("\t".join(row) + "\n" for row in rows(root)), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
