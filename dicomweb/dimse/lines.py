"""The sockets that the node accepts on, for any number of processes."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from fhir_server.settings import Settings

BACKLOG = 128


def listening_on(host: str, port: int) -> socket.socket:
    """A socket that listens, for any number of processes to accept from; port 0 picks a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.create_server((host, port), family=family, backlog=BACKLOG)
    made.setblocking(False)  # another process may be the one that accepts
    return made


@dataclass(frozen=True, slots=True)
class Lines:
    """`tls` None: no TLS is set up. `shared`: several processes accept."""

    plain: socket.socket
    tls: socket.socket | None = None
    shared: bool = False

    @property
    def port(self) -> int:
        return int(self.plain.getsockname()[1])

    def close(self) -> None:
        for one in (self.plain, self.tls):
            if one is not None:
                one.close()


def lines(settings: Settings) -> Lines:
    """Bound and listening. Raises OSError when a port is taken."""
    plain = listening_on(settings.host, settings.dimse_port)
    try:
        secure = listening_on(settings.host, settings.dimse_tls_port) if settings.dimse_certificate else None
    except OSError:
        plain.close()
        raise
    return Lines(plain, secure)


def inherited(numbers: tuple[int, ...]) -> Lines:
    """In a process that was started with them: the sockets by their descriptors."""
    plain, *secure = [socket.socket(fileno=number) for number in numbers]
    for one in (plain, *secure):
        one.setblocking(False)
    return Lines(plain, secure[0] if secure else None, shared=True)
