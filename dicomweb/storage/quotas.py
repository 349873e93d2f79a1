"""Whether a site that has used up its quota may still store. Nothing that was acknowledged is ever touched.

An instance of an exam that is here already is always taken: half an exam helps nobody. Of new exams, one of
today or yesterday is taken up to a fifth above the quota, since it may be the one a patient is waiting for;
older ones (priors, transfers, discs) are refused at the quota. What is refused stays with who sent it:
C-STORE 0xA700, STOW-RS 507, and gateways keep it and try again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from dicomweb import reasons
from dicomweb.attributes import first
from dicomweb.index.contract import Index, Usage
from dicomweb.reasons import Refused
from fhir_server.amounts import of_site

ABOVE = 1.2  # of the quota: up to here exams of these days are taken
RECENT = timedelta(days=1)


def check(
    index: Index, quotas: Mapping[str, int], source: str, attributes: Mapping[str, Any], now: int
) -> None:
    """`now`: UTC microseconds. Raises Refused."""
    allowed = of_site(quotas, source)
    if allowed is None:
        return
    used = index.usage().get(source, Usage(0, 0)).bytes
    limit = allowed * ABOVE if is_recent(first(attributes, "00080020"), now) else allowed
    if used >= limit and index.study(first(attributes, "0020000D")) is None:
        raise Refused(reasons.OVER_QUOTA)


def is_recent(date: str, now: int) -> bool:
    """A Study Date (YYYYMMDD) of these days; a day's grace for the time zone."""
    oldest = datetime.fromtimestamp(now / 1e6, UTC) - RECENT
    return date.replace(".", "") >= oldest.strftime("%Y%m%d")


def told(index: Index, quotas: Mapping[str, int]) -> list[str]:
    """A line for each site that has used nine tenths of its quota or more."""
    lines = []
    for source, used in sorted(index.usage().items()):
        allowed = of_site(quotas, source)
        if allowed is not None and used.bytes >= 0.9 * allowed:
            share = 100 * used.bytes // allowed if allowed else 100
            lines.append(f"site {source or '(unknown)'}: {share} % of its quota is used")
    return lines
