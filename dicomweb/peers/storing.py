"""C-STORE as SCU: files go to a peer on a plain blocking association, kept for the next ones.

What the peer does not take at the speed at which it is read waits in its file: memory is one piece, however
large the instance. PS3.4 §B (Storage Service Class)
"""

from __future__ import annotations

import select
from collections.abc import Callable
from dataclasses import dataclass, field

from dicomweb.dimse.outgoing import Outgoing, Refused, Target, opened
from dicomweb.dimse.suboperations import Instance
from dicomweb.peers.contexts import MOST_CONTEXTS, sending
from dicomweb.peers.session import Denied, Incapable, Sendable, Unreachable

Form = tuple[str, str]  # SOP class and transfer syntax


@dataclass(slots=True)
class Storing:
    """`target` says whom to call, once something is to be sent."""

    target: Callable[[], Target]
    _line: Outgoing | None = None
    _forms: list[Form] = field(default_factory=list)  # what was sent, the newest last
    _proposed: frozenset[Form] = frozenset()

    @property
    def is_open(self) -> bool:
        """Whether the association is still there: an idle one on which something comes is being ended."""
        if self._line is None:
            return False
        readable, _, _ = select.select([self._line.connection], [], [], 0)
        return not readable

    def store(self, one: Sendable) -> int:
        """The status that the peer answers. Raises Incapable when it does not take such a file, Denied,
        Unreachable."""
        line, context = self._ready(one)
        try:
            with one.path.open("rb"):
                pass
        except OSError as error:
            raise Incapable("not-sendable", type(error).__name__) from error
        try:
            return line.store(Instance(one.sop_class, one.instance, one.path), context, None)
        except OSError as error:
            self.drop()
            raise Unreachable("no-answer", "the peer broke off or did not answer in time") from error

    def _ready(self, one: Sendable) -> tuple[Outgoing, int]:
        """The association, with a presentation context for the file."""
        form = one.sop_class, one.transfer_syntax
        if not self.is_open or form not in self._proposed:
            self.close()
            self._forms = [*(one for one in self._forms if one != form), form][3 - MOST_CONTEXTS :]
            self._line = self._opened()
        assert self._line is not None
        taken = self._line.accepted.get(one.sop_class, {})
        if one.transfer_syntax not in taken:
            slug = "transfer-syntax-not-supported" if self._line.accepted else "sop-class-not-supported"
            raise Incapable(slug, "the peer takes no such file")
        return self._line, taken[one.transfer_syntax]

    def _opened(self) -> Outgoing:
        contexts = sending(self._forms)
        self._proposed = frozenset(
            (str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in contexts
        )
        try:
            return opened(self.target(), contexts)
        except Refused as error:
            raise Denied("association-rejected", "the peer rejects our AE title or is full") from error
        except (OSError, ValueError) as error:
            raise Unreachable("no-connection", type(error).__name__) from error

    def close(self) -> None:
        """Release; what was proposed is proposed again the next time."""
        line, self._line = self._line, None
        if line is not None:
            line.release()

    def drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.abort()
