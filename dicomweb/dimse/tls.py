"""TLS for the node's own side: who we are, and whose certificates we take.

Mutual: a peer without a certificate of our authority gets no association. TLS 1.3, and 1.2 with forward
secrecy and authenticated encryption alone. PS3.15 §B.12 (BCP 195 RFC 8996, 9325 TLS Secure Transport
Connection Profile), RFC 9325 §4.2
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Protocol

from fhir_server.settings import PREFIX, SettingsError

SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
)  # fmt: skip  # those of TLS 1.2; TLS 1.3 has none that is weak
HANDSHAKE_SECONDS = 10.0


def narrowed(context: ssl.SSLContext) -> ssl.SSLContext:
    """The profile's versions and suites."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(SUITES))
    return context


class Secured(Protocol):
    """The settings of a node or a gateway: PEM files, or "" for all three."""

    @property
    def dimse_certificate(self) -> str: ...
    @property
    def dimse_key(self) -> str: ...
    @property
    def dimse_authority(self) -> str: ...


def of(settings: Secured, prefix: str = PREFIX) -> ssl.SSLContext | None:
    """None when no certificate is set. Raises SettingsError naming the file that cannot be used; `prefix` is
    how the settings' names begin."""
    if not settings.dimse_certificate:
        return None
    context = narrowed(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.verify_mode = ssl.CERT_REQUIRED
    for name in ("dimse_certificate", "dimse_key", "dimse_authority"):
        if not Path(getattr(settings, name)).is_file():
            raise SettingsError(f"{prefix}{name.upper()}={getattr(settings, name)!r}: no such file")
    try:
        context.load_cert_chain(settings.dimse_certificate, settings.dimse_key)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(
            f"{prefix}DIMSE_CERTIFICATE={settings.dimse_certificate!r}: no certificate with the key of "
            f"{prefix}DIMSE_KEY, in PEM"
        ) from error
    try:
        context.load_verify_locations(settings.dimse_authority)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(
            f"{prefix}DIMSE_AUTHORITY={settings.dimse_authority!r}: no certificates in PEM"
        ) from error
    return context
