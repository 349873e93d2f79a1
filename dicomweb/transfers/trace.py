"""The end of a transfer as a line of its télédossier's timeline, signed. Pure.

The full receipt names every instance and stays with the transfer; the timeline has its sums and its hash, so
that a télédossier of 2,000 images stays quick to read. FHIR R4 provenance.html; RFC 7515
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

from dicomweb.transfers.receipt import Sign
from dicomweb.transfers.record import Transfer

BASE = "https://teledossier.example/fhir"
SOURCE_SIGNATURE = {"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.14"}
WHAT = {"import": "Import depuis {peer}", "relay": "Envoi vers {peer}"}


def words(transfer: Transfer) -> str:
    """French, for people: `412 images sur 412, mêmes empreintes, en 05:22`."""
    seconds = max(0, (transfer.ended - transfer.started) // 1_000_000) if transfer.started else 0
    time = f"{seconds // 60:02d}:{seconds % 60:02d}"
    if transfer.state == "cancelled":
        return f"interrompu : {transfer.done} images sur {transfer.total}"
    if transfer.state == "done":
        return f"{transfer.done} images sur {transfer.total}, aucune perdue ni altérée, en {time}"
    return f"incomplet : {transfer.done} images sur {transfer.total}, {transfer.failed} en défaut, en {time}"


def provenance(transfer: Transfer, peer: str, receipt: str, sign: Sign) -> dict[str, Any]:
    """`peer`: its name for people. Its id is the transfer's, so that it is written once."""
    order = transfer.order
    now = datetime.fromtimestamp(transfer.ended / 1e6, UTC).isoformat(timespec="milliseconds")
    is_person = order.asker.startswith("Practitioner/")
    who = {"reference": order.asker} if is_person else {"display": "Plateforme"}
    summary = {
        "transfer": transfer.id, "state": transfer.state, "sent": transfer.total, "stored": transfer.done,
        "receipt_sha256": hashlib.sha256(receipt.encode()).hexdigest() if receipt else "",
    }  # fmt: skip
    signature = {
        "type": [SOURCE_SIGNATURE],
        "when": now,
        "who": {"display": "Plateforme"},
        "sigFormat": "application/jose",
        "data": base64.b64encode(sign(summary).encode()).decode(),
    }
    what = WHAT[order.kind].format(peer=peer)
    return {
        "resourceType": "Provenance",
        "id": "transfer-" + hashlib.sha256(transfer.id.encode()).hexdigest()[:40],
        "target": [{"reference": f"ServiceRequest/{order.request}"}],
        "occurredDateTime": now,
        "recorded": now,
        "activity": {"coding": [{"system": f"{BASE}/CodeSystem/step", "code": "exam-transferred"}]},
        "reason": [{"text": f"{what} : {words(transfer)}"}],
        "agent": [{"who": who}],
        "entity": [{"role": "source", "what": {"identifier": {"value": f"urn:oid:{order.study}"}}}],
        "signature": [signature],
    }
