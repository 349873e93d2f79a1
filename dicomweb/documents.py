"""Instances that are read rather than looked at: which they are, and how they are handed to a browser. Pure.

What was written elsewhere is shown in an origin of its own, without scripts; XML, which can carry any, is a
download. PS3.3 §A.35 (SR), §C.24.2 (encapsulated document); PS3.18 §8.7.4 (rendered media types)
"""

from __future__ import annotations

from collections.abc import Mapping

from dicomweb.attributes import Attributes, first

DOCUMENT = "00420011"
TEXTS = ("text/html", "text/plain")
_SEALED = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"
_KNOWN = ("application/pdf", "text/xml", "application/xml", "model/stl", "text/plain")


def is_report(attributes: Attributes) -> bool:
    """Whether the instance has a content tree."""
    return "0040A730" in attributes and first(attributes, "0040A040") in ("CONTAINER", "")


def document_type(attributes: Attributes) -> str:
    """The media type of an encapsulated document, "" when there is none."""
    found = first(attributes, "00420012").lower()
    return found if DOCUMENT in attributes and found in _KNOWN else ""


def sealed(media: str) -> Mapping[str, str]:
    """Headers that keep what is read from acting: a PDF needs its viewer, so it is no sandbox."""
    made = {"X-Content-Type-Options": "nosniff"}
    if media == "application/pdf":
        made["Content-Security-Policy"] = "frame-ancestors 'self'"
    elif media in (*TEXTS, *_KNOWN, "image/svg+xml"):
        made["Content-Security-Policy"] = f"sandbox; {_SEALED}"
    if media in ("text/xml", "application/xml", "model/stl"):
        made["Content-Disposition"] = 'attachment; filename="document"'
    return made
