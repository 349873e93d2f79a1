"""Performed procedure steps as the node takes them: from known peers alone; a peer of an organisation sees
and sets that organisation's steps, what else there is does not exist for it. PS3.4 §F.7 (MPPS), §F.8
(Retrieve)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dicomweb.dimse import registry
from dicomweb.dimse.registry import calling
from dicomweb.dimse.services import Handler, Service, World
from dicomweb.steps.scp import OFFERED, Performing, handlers
from dicomweb.steps.taking import Sayer
from fhir_server.clock import utc_microseconds


def _sayer(event: Any) -> Sayer | None:
    """A peer of an organisation: its steps; of none, with `accept-all`: every step."""
    peer = calling(event)
    return Sayer(peer.ae_title, peer.site, registry.EVERYTHING in peer.uses) if peer else None


def _make(world: World) -> Mapping[Any, Handler]:
    return handlers(Performing(world.images.index, _sayer, utc_microseconds))


SERVICE = Service(OFFERED, _make, registry.STEPS)
