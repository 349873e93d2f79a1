"""Countries and currencies, from the Unicode CLDR: `python -m terminology.code_systems.generate CLDR-CORE`.

CLDR-CORE is the folder of the package cldr-core. Writes `iso.tsv`, codes alone, one country or currency a
line: a country in its three forms (ISO 3166-1), a currency that was in use in 2000 or later (ISO 4217).

https://cldr.unicode.org
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

TABLE = Path(__file__).parent / "iso.tsv"
_PRIVATE = 900
"""Numeric country codes from here on are nobody's."""
_SINCE = "2000"
"""Currencies withdrawn later still stand in records."""
_NO_TENDER = ("XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX")


def rows(core: Path) -> Iterator[tuple[str, ...]]:
    """Countries, then currencies, each by their letters."""
    mappings = _supplemental(core, "codeMappings")
    former = _supplemental(core, "aliases", "metadata")["alias"]["territoryAlias"]
    for code, forms in sorted(mappings.items()):
        number = forms.get("_numeric", "")
        if len(code) == 2 and "_alpha3" in forms and number and int(number) < _PRIVATE and code not in former:
            yield "country", code, forms["_alpha3"], number
    regions = _supplemental(core, "currencyData")["region"].values()
    spans = [pair for region in regions for one in region for pair in one.items()]
    used = {
        code
        for code, span in spans
        if span.get("_to", _SINCE) >= _SINCE and "_numeric" in mappings.get(code, ())
    }
    for code in sorted(used | set(_NO_TENDER)):
        yield "currency", code


def _supplemental(core: Path, file: str, part: str = "") -> Any:
    return orjson.loads((core / "supplemental" / f"{file}.json").read_bytes())["supplemental"][part or file]


def main(core: Path) -> None:
    """Read the folder, write the table."""
    TABLE.write_text("".join("\t".join(row) + "\n" for row in rows(core)), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
