"""One question to a PACS, for a person's search or for earlier exams."""

from __future__ import annotations

from collections.abc import Mapping

from dicomweb.images import Images
from dicomweb.peers.peer import Credentials, Peer
from dicomweb.peers.session import MOST, Attributes, Level


def find(
    images: Images, peer: Peer, level: Level, keys: Mapping[str, str], most: int = MOST
) -> list[Attributes]:
    """Blocking. What speaks DIMSE is imported when it is first needed. Raises PeerError."""
    from dicomweb.peers.dimse import Ours
    from dicomweb.peers.opening import open_session

    ours = Ours(images.ae_title, Credentials(images.peer_keys), board=images.board)
    session = open_session(peer, ours, images.files.spool)
    try:
        return session.find(level, keys, most)
    finally:
        session.close()
