"""The services for known peers; a new one is a line here. Apart from the node, which without such peers
needs none of it, nor the pixel libraries."""

from __future__ import annotations

from collections.abc import Sequence

from dicomweb.dimse import commitment, committed, performing, query, schedule
from dicomweb.dimse.services import Service

SERVICES: Sequence[Service] = (
    query.SERVICE,
    schedule.SERVICE,
    commitment.SERVICE,
    committed.SERVICE,
    performing.SERVICE,
)
