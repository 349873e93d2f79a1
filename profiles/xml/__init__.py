"""FHIR XML ↔ a resource as a plain dict, the one that `profiles.codec` reads from JSON.

`parse` and `dump` mirror those of the codec: what goes from JSON to XML and back is the same dict, to the
digits of decimals and the bytes of narratives. FHIR R4 xml.html
"""

from profiles.xml.reading import parse
from profiles.xml.writing import dump, dump_indented

__all__ = ["dump", "dump_indented", "parse"]
