"""The services for known peers, put together. Apart from the node, which without such peers needs none of
it."""

from __future__ import annotations

import threading

from pynetdicom import evt

from dicomweb.dimse import commitment, peers, schedule
from dicomweb.dimse.bridge import Bridge
from dicomweb.dimse.commitment import Committer
from dicomweb.dimse.query import FIND, GET, MOVE, PATIENT_ROOT, STUDY_ROOT, Retriever
from dicomweb.dimse.schedule import Schedule
from dicomweb.dimse.services import Services
from dicomweb.images import Images
from fhir_server.settings import Settings

OFFERED = (
    *(root + service for root in (PATIENT_ROOT, STUDY_ROOT) for service in (FIND, MOVE, GET)),
    commitment.SOP_CLASS,
    schedule.SOP_CLASS,
)


def known_services(settings: Settings, images: Images, bridge: Bridge, stopped: threading.Event) -> Services:
    """For the peers of the settings."""
    known = peers.of(settings)
    retriever = Retriever(images, bridge, known, settings.ae_title)
    committer = Committer(images.files, images.index, known, settings.ae_title, stopped)
    worklist = Schedule(bridge, known, settings.zone, retriever.on_find)
    return Services(
        OFFERED,
        (
            (evt.EVT_C_FIND, worklist.on_find),
            (evt.EVT_C_MOVE, retriever.on_move),
            (evt.EVT_C_GET, retriever.on_get),
            (evt.EVT_N_ACTION, committer.on_action),
        ),
    )
