"""The gateway's own settings: read once, frozen; what is unknown, malformed or unsafe stops the start.

From the environment (`TELEDOSSIER_GATEWAY_…`), else from the table `[gateway]` of `teledossier.toml`, else
the default. The platform's settings may stand beside them and mean nothing here.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dicomweb.peers.peer import Peer, Window
from fhir_server import settings as platform
from fhir_server.settings import SettingsError, is_loopback

PREFIX = platform.PREFIX + "GATEWAY_"
COMPRESSIONS = ("zstd", "gzip", "none")
_TITLE = re.compile(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?")
_RULE = re.compile(r"(ae|modality|priority):([^\s:,]{1,16})")
_PEER = re.compile(r"[^\s=@,\\/]{1,16}=[A-Za-z0-9._-]+:[0-9]{1,5}|https?://[^\s,?#@]+")
_MODALITY = re.compile(r"[^\s=@,\\/]{1,16}=[A-Za-z0-9._-]+:[0-9]{1,5}")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Every setting with its default. Sizes in bytes, times in seconds but for `keep_days`, `rate` in
    kilobytes per second (0: no limit), `start` and `until` as times of the day in `timezone`."""

    platform: str = ""
    client: str = ""
    key_file: str = ""
    secret_file: str = ""
    ca_file: str = ""
    folder: str = "var/gateway"
    host: str = "127.0.0.1"
    port: int = 11112
    ae_title: str = "PASSERELLE"
    dimse_tls_port: int = 2762
    dimse_certificate: str = ""
    dimse_key: str = ""
    dimse_authority: str = ""
    callers: str = ""
    commitment: str = ""
    peers: str = ""
    urgent: str = "priority:STAT"
    quota: int = 0
    reserve: int = 1_000_000_000
    keep_days: float = 7.0
    rate: int = 0
    start: str = ""
    until: str = ""
    timezone: str = "Europe/Paris"
    compression: str = "zstd"
    request_bytes: int = 8_000_000
    retry_seconds: float = 60.0
    health_seconds: float = 30.0
    peer_keys: str = "var/peer-keys"
    log_level: str = "info"

    @property
    def url(self) -> str:
        """The platform's address without a final slash."""
        return self.platform.rstrip("/")

    @property
    def root(self) -> Path:
        return Path(self.folder)

    @property
    def calling(self) -> list[str]:
        """The AE titles that may send; none listed: all."""
        return [one for one in (part.strip() for part in self.callers.split(",")) if one]

    @property
    def asking(self) -> dict[str, Peer]:
        """AE title → where a modality takes the results of its storage commitments."""
        found = {}
        for title, _equals, address in (one.strip().rpartition("=") for one in self.commitment.split(",")):
            host, _colon, port = address.rpartition(":")
            if title:
                found[title] = Peer("", title, "", "dimse", host=host, port=int(port), ae_title=title)
        return found

    @property
    def called(self) -> frozenset[str]:
        """The site's systems that the platform may have called, as `associations.called` writes them. None
        listed: none."""
        return frozenset(one.rstrip("/") for one in (part.strip() for part in self.peers.split(",")) if one)

    @property
    def rules(self) -> frozenset[tuple[str, str]]:
        """(what, value) that make an instance urgent; values in upper case."""
        found = (_RULE.fullmatch(one.strip()) for one in self.urgent.split(",") if one.strip())
        return frozenset((one[1], one[2].upper()) for one in found if one)

    @property
    def window(self) -> Window | None:
        """When what is not urgent may go; None: always."""
        ends = [_TIME.fullmatch(one) for one in (self.start, self.until)]
        if not all(ends):
            return None
        start, until = (int(one[1]) * 60 + int(one[2]) for one in ends if one)
        return Window(start, until)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def now(self) -> datetime:
        return datetime.now(self.zone)


def load(environ: Mapping[str, str] = os.environ, toml: Path = Path("teledossier.toml")) -> GatewaySettings:
    """Read and check. Raises SettingsError, naming key and value."""
    known = {field.name: field for field in fields(GatewaySettings)}
    raw: dict[str, Any] = dict(_table(toml))
    for name, value in environ.items():
        if name.startswith(PREFIX):
            raw[name.removeprefix(PREFIX).lower()] = value
        elif name.startswith(platform.PREFIX) and not platform.is_known(name):
            raise SettingsError(f"{name} is not a setting")
    values = {}
    for key, value in raw.items():
        if key not in known:
            raise SettingsError(f"{PREFIX}{key.upper()} is not a setting; known: {', '.join(sorted(known))}")
        kind = type(getattr(GatewaySettings(), key))
        try:
            values[key] = kind(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise SettingsError(f"{PREFIX}{key.upper()}={value!r} is not a {kind.__name__}") from error
    settings = GatewaySettings(**values)
    for check in (_check_way, _check_credentials, _check_reception, _check_pace):
        check(settings)
    return settings


def _table(toml: Path) -> Mapping[str, Any]:
    if not toml.exists():
        return {}
    try:
        found = tomllib.loads(toml.read_text("utf-8")).get("gateway", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{toml} is not valid TOML: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{toml}: gateway is a table, [gateway]")
    return found


def _wrong(settings: GatewaySettings, name: str, text: str) -> SettingsError:
    return SettingsError(f"{PREFIX}{name.upper()}={getattr(settings, name)!r}: {text}")


def _check_way(settings: GatewaySettings) -> None:
    """The platform is reached by TLS, or on this very machine."""
    try:
        url = urlsplit(settings.url)
        url.port  # noqa: B018 - raises ValueError
    except ValueError as error:
        raise _wrong(settings, "platform", "not an address") from error
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise _wrong(settings, "platform", "the https address of the platform is needed")
    if url.username is not None:
        raise SettingsError(f"{PREFIX}PLATFORM: no user name or password in the address")
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise _wrong(settings, "platform", "plain http is only for a loopback address; use https")
    if settings.ca_file and not Path(settings.ca_file).is_file():
        raise _wrong(settings, "ca_file", "no such file")


def _check_credentials(settings: GatewaySettings) -> None:
    if not settings.client:
        raise _wrong(settings, "client", "the id of the gateway's client on the platform is needed")
    if bool(settings.key_file) == bool(settings.secret_file):
        raise SettingsError(f"one of {PREFIX}KEY_FILE and {PREFIX}SECRET_FILE is needed, not both")
    name = "key_file" if settings.key_file else "secret_file"
    path = Path(getattr(settings, name))
    if not path.is_file():
        raise _wrong(settings, name, "no such file")
    if not path.stat().st_size:
        raise _wrong(settings, name, "the file is empty")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _wrong(settings, name, "others than its owner may read this file (chmod 600)")


def _check_reception(settings: GatewaySettings) -> None:
    for title in (settings.ae_title, *settings.calling):
        if not _TITLE.fullmatch(title):
            name = "ae_title" if title is settings.ae_title else "callers"
            raise _wrong(settings, name, "an AE title has 1 to 16 characters, no backslash")
    for one in filter(None, (part.strip() for part in settings.commitment.split(","))):
        if not _MODALITY.fullmatch(one) or not 0 < int(one.rpartition(":")[2]) < 65536:
            raise _wrong(settings, "commitment", "AETITLE=host:port, separated by commas")
    for peer in settings.called:
        if not _PEER.fullmatch(peer):
            raise _wrong(settings, "peers", "AETITLE=host:port or the address of a DICOMweb service")
    for name in ("port", "dimse_tls_port"):
        if not 0 <= getattr(settings, name) < 65536:
            raise _wrong(settings, name, "not a port number")
    secured = (settings.dimse_certificate, settings.dimse_key, settings.dimse_authority)
    if any(secured) and not all(secured):
        raise SettingsError(
            f"{PREFIX}DIMSE_CERTIFICATE, {PREFIX}DIMSE_KEY and {PREFIX}DIMSE_AUTHORITY are given together"
        )
    if not settings.host:
        raise _wrong(settings, "host", "the address to listen on is needed")
    for rule in settings.urgent.split(","):
        if rule.strip() and not _RULE.fullmatch(rule.strip()):
            raise _wrong(settings, "urgent", "ae:TITLE, modality:XX or priority:STAT, separated by commas")


def _check_pace(settings: GatewaySettings) -> None:
    least: Mapping[str, float] = {
        "quota": 0, "reserve": 100_000_000, "keep_days": 0, "rate": 0, "request_bytes": 100_000,
        "retry_seconds": 0.1, "health_seconds": 1,
    }  # fmt: skip
    for name, low in least.items():
        if not low <= getattr(settings, name) <= 10**15:
            raise _wrong(settings, name, f"at least {low:g}")
    if settings.request_bytes > 64_000_000:
        raise _wrong(settings, "request_bytes", "at most 64000000: an urgent exam waits for a request")
    if settings.compression not in COMPRESSIONS:
        raise _wrong(settings, "compression", ", ".join(COMPRESSIONS))
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise _wrong(settings, "log_level", "debug, info, warning or error")
    if (settings.start or settings.until) and settings.window is None:
        raise SettingsError(
            f"{PREFIX}START={settings.start!r} and {PREFIX}UNTIL={settings.until!r}: both, as HH:MM"
        )
    try:
        ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise _wrong(settings, "timezone", "not a time zone name") from error
