"""What the node offers to the peers it knows, besides storing: service classes, each in a module of its own.

A service says which abstract syntaxes it offers and what answers each event of theirs; `handlers` sends an
event to the service in whose presentation context it came. PS3.7 §7 (services), PS3.8 §9.3.2.2
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicomweb.dimse.bridge import Bridge
from dicomweb.dimse.registry import Registry
from dicomweb.images import Images
from fhir_server.settings import Settings

Handler = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class World:
    """What a service may work with. `stopped` is set when the node stops: whoever waits, waits on it."""

    settings: Settings
    images: Images
    bridge: Bridge
    known: Registry
    stopped: threading.Event


@dataclass(frozen=True, slots=True)
class Service:
    """Abstract syntaxes, how to make what answers each of pynetdicom's events in them, and the `use` of an
    Endpoint that lets its peer ask for it (`registry`)."""

    offered: Sequence[str]
    make: Callable[[World], Mapping[Any, Handler]]
    use: str


def offered(services: Sequence[Service]) -> list[str]:
    """Every abstract syntax, once."""
    return list(dict.fromkeys(name for service in services for name in service.offered))


def handlers(services: Sequence[Service], world: World) -> list[tuple[Any, Handler]]:
    """One handler an event, for all services together."""
    tables: dict[Any, dict[str, Handler]] = {}
    for service in services:
        for event, handler in service.make(world).items():
            tables.setdefault(event, {}).update(dict.fromkeys(service.offered, handler))
    return [(event, _by_context(table)) for event, table in tables.items()]


def _by_context(table: Mapping[str, Handler]) -> Handler:
    def answer(event: Any) -> Any:
        return table[str(event.context.abstract_syntax)](event)

    return answer
