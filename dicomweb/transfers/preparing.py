"""One of our instances made ready to be sent: whole on our disk, under the peer's identity, in a form that
the peer takes. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import orjson

from dicomweb.dataset import digests
from dicomweb.decoding import Decoder
from dicomweb.files import DicomFiles
from dicomweb.index.contract import File, Index
from dicomweb.peers.session import Incapable, Sendable
from dicomweb.syntaxes import DECODED, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from dicomweb.transfers.outgoing import Outgoing
from dicomweb.transfers.record import Item

UNTAKEN = "transfer-syntax-not-supported"
CONVERTED = "converted"  # the peer does not take the transfer syntax: nothing to compare bytes with
Form = tuple[str, str]  # SOP class and transfer syntax


@dataclass(frozen=True, slots=True)
class Ready:
    """`close` it once its file is not needed any more."""

    item: Item
    sendable: Sendable
    done: Item
    close: Callable[[], None]

    @property
    def form(self) -> Form:
        return self.sendable.sop_class, self.sendable.transfer_syntax


@dataclass(frozen=True, slots=True)
class Preparing:
    """From our files."""

    files: DicomFiles
    index: Index
    decoder: Decoder

    def ready(self, item: Item, out: Outgoing, untaken: Collection[Form]) -> Ready | Item:
        """In the first form that is not `untaken`; the item, failed, where it cannot go at all."""
        file = self.index.file(item.instance)
        if file is None:
            return replace(item, state="failed", reason="withdrawn", attempts=99)
        path = self.files.path(file.path)
        if not path.exists():
            return replace(item, state="failed", reason="damaged-here", attempts=99)
        whole, source = digests(path)
        if whole != file.sha256:
            return replace(item, state="failed", reason="damaged-here", attempts=99)
        left = [one for one in forms_of(file) if one not in untaken]
        if not left:
            return replace(item, state="failed", reason=UNTAKEN)
        with ExitStack() as stack:
            try:
                plain = (
                    path
                    if left[0][1] == file.transfer_syntax
                    else stack.enter_context(self._converted(file, left[0][1]))
                )
                made = stack.enter_context(out.made(item.instance, plain))
            except Incapable as error:
                return replace(item, state="failed", reason=error.slug)
            sha256, sent = (whole, source) if made == path else digests(made)
            sendable = Sendable(out.uid(file.uid, out.rows[item.instance]), *left[0], made, sha256)
            note = CONVERTED if plain != path else ""
            done = replace(item, state="done", reason=note, size=file.size, source=source, sent=sent)
            return Ready(item, sendable, done, stack.pop_all().close)
        raise AssertionError("an ExitStack swallows nothing")

    @contextmanager
    def _converted(self, file: File, syntax: str) -> Iterator[Path]:
        """Raises Incapable."""
        body = next(iter(self.index.metadata(file.study, file.series, file.uid)))
        attributes: Mapping[str, object] = orjson.loads(body.json)
        plain = self.files.spool / f"peer-{uuid4().hex}"
        try:
            try:
                self.decoder.transcode(self.files.path(file.path), file.layout, attributes, syntax, plain)
            except Exception as error:
                raise Incapable("cannot-convert", "the pixels cannot be converted here") from error
            yield plain
        finally:
            plain.unlink(missing_ok=True)


def forms_of(file: File) -> list[Form]:
    """As it is, then uncompressed."""
    plain = (EXPLICIT_LITTLE, IMPLICIT_LITTLE) if file.transfer_syntax in DECODED else ()
    return [(file.sop_class, one) for one in dict.fromkeys((file.transfer_syntax, *plain))]
