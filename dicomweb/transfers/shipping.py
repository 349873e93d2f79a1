"""Instances on their way to a peer, several at once: made ready while others go, each settled as its answer
comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace

from dicomweb.peers.session import PeerError, Sendable, Shipping
from dicomweb.transfers.outgoing import Outgoing, Withdrawn
from dicomweb.transfers.preparing import UNTAKEN, Form, Ready
from dicomweb.transfers.record import Item

Prepare = Callable[[Item, Outgoing, Collection[Form]], Ready | Item]


@dataclass(slots=True)
class Shipment(Iterator[Sendable]):
    """Itself what the session takes from. `source`: the instances in order, each with how it goes; where that
    raises PeerError or Withdrawn, what is under way is settled first."""

    prepare: Prepare
    source: Iterator[tuple[Item, Outgoing]]
    _under_way: dict[str, tuple[Ready, Outgoing]] = field(default_factory=dict)
    _again: deque[tuple[Item, Outgoing]] = field(default_factory=deque)  # in another form
    _failed: list[Item] = field(default_factory=list)
    _untaken: set[Form] = field(default_factory=set)
    _broke: list[Exception] = field(default_factory=list)

    def settled(self, session: Shipping, window: int) -> Iterator[Item]:
        """Raises PeerError, Withdrawn."""
        try:
            for sent in session.ship(self, window):
                yield from self._refused()
                if (item := self._settle(sent.instance, sent.fault)) is not None:
                    yield item
            yield from self._refused()
        finally:
            for made, _out in self._under_way.values():
                made.close()
        if self._broke:
            raise self._broke[0]

    def __next__(self) -> Sendable:
        while True:
            item, out = self._again.popleft() if self._again else self._following()
            made = self.prepare(item, out, self._untaken)
            if isinstance(made, Ready):
                self._under_way[made.sendable.instance] = made, out
                return made.sendable
            self._failed.append(made)

    def _following(self) -> tuple[Item, Outgoing]:
        """Raises StopIteration."""
        try:
            return next(self.source)
        except (PeerError, Withdrawn) as error:
            self._broke.append(error)
            raise StopIteration from error

    def _settle(self, instance: str, fault: str) -> Item | None:
        """None for one that goes again in another form."""
        made, out = self._under_way.pop(instance)
        made.close()
        if fault == UNTAKEN:
            self._untaken.add(made.form)
            self._again.append((made.item, out))
            return None
        return replace(made.item, state="failed", reason=fault) if fault else made.done

    def _refused(self) -> Iterator[Item]:
        failed, self._failed = self._failed, []
        yield from failed
