"""The end of a transfer as a line of its télédossier's timeline, signed. Pure.

The full receipt names every instance and stays with the transfer; the timeline has its sums and its hash, so
that a télédossier of 2,000 images stays quick to read. FHIR R4 provenance.html; RFC 7515
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from dicomweb.transfers.delivered import Rejection
from dicomweb.transfers.notes import WORDS
from dicomweb.transfers.receipt import Sign
from dicomweb.transfers.record import Proof, Transfer

BASE = "https://teledossier.example/fhir"
SOURCE_SIGNATURE = {"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.14"}
WHAT = {
    "import": "Import depuis {peer}",
    "relay": "Envoi vers {peer}",
    "corrected": "Envoi de l'identité corrigée vers {peer}",
    "reject": "Retrait demandé à {peer}",
}


PROOFS: Mapping[Proof, str] = {  # from the weakest on
    "": "accusées à réception",
    "presence": "toutes présentes chez le destinataire",
    "committed": "toutes présentes, conservation confirmée par le destinataire",
    "content": "aucune perdue ni altérée",
}


def words(transfer: Transfer, proofs: Collection[Proof]) -> str:
    """French, for people: `412 images sur 412, aucune perdue ni altérée, en 05:22`. No more is said than is
    known of the least proved of them."""
    seconds = max(0, (transfer.ended - transfer.started) // 1_000_000) if transfer.started else 0
    time = f"{seconds // 60:02d}:{seconds % 60:02d}"
    if transfer.state == "cancelled":
        return f"interrompu : {transfer.done} images sur {transfer.total}"
    if transfer.state == "done":
        proved = next((text for proof, text in PROOFS.items() if proof in proofs), PROOFS[""])
        return f"{transfer.done} images sur {transfer.total}, {proved}, en {time}"
    return f"incomplet : {transfer.done} images sur {transfer.total}, {transfer.failed} en défaut, en {time}"


def words_of_note(transfer: Transfer, note: Rejection) -> str:
    """French, for people: `images envoyées sous une identité qui n'est pas la leur : 12 images, note de rejet
    transmise`."""
    count = len(note.instances)
    came = "note de rejet transmise" if transfer.state == "done" else "note de rejet NON transmise"
    return f"{WORDS[note.title]} : {count} image{'s' if count > 1 else ''}, {came}"


def said(
    transfer: Transfer, peer: str, note: Rejection | None, is_correction: bool, proofs: Collection[Proof]
) -> str:
    """The line's text. `note`: that of a "reject"; `is_correction`: another identity stood there before;
    `proofs`: those of its instances."""
    kind = "corrected" if is_correction and transfer.order.kind == "relay" else transfer.order.kind
    told = words_of_note(transfer, note) if note else words(transfer, proofs)
    return f"{WHAT[kind].format(peer=peer)} : {told}"


def provenance(transfer: Transfer, text: str, receipt: str, sign: Sign) -> dict[str, Any]:
    """`text` is for people (`said`). Its id is the transfer's, so that it is written once."""
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
    return {
        "resourceType": "Provenance",
        "id": "transfer-" + hashlib.sha256(transfer.id.encode()).hexdigest()[:40],
        "target": [{"reference": f"ServiceRequest/{order.request}"}],
        "occurredDateTime": now,
        "recorded": now,
        "activity": {"coding": [{"system": f"{BASE}/CodeSystem/step", "code": "exam-transferred"}]},
        "reason": [{"text": text}],
        "agent": [{"who": who}],
        "entity": [{"role": "source", "what": {"identifier": {"value": f"urn:oid:{order.study}"}}}],
        "signature": [signature],
    }
