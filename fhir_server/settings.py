"""One frozen Settings, read once: from the environment, else from `teledossier.toml`, else the default.

An unknown TELEDOSSIER_ name or key, or an unsafe value, stops start-up with one line that names it.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fhir_server.amounts import by_site, duration, size

PREFIX = "TELEDOSSIER_"
GATEWAY = PREFIX + "GATEWAY_"  # a site's gateway has settings of its own (dicomweb/gateway/settings.py)
GATEWAY_TABLE = "gateway"
NOT_SETTINGS = {  # what only the tests read
    "TELEDOSSIER_PROBE_URL",
    "TELEDOSSIER_R4_EXAMPLES",
    "TELEDOSSIER_TEST_MONGODB_URI",
    "TELEDOSSIER_TEST_OHIF",
}

# setting → the property that reads it
_AMOUNTS = {
    "compress_after": "compress_seconds",
    "quotas": "quota_bytes",
    "retention": "retention_seconds",
    "purge_after": "purge_seconds",
    "scan_rate": "scan_bytes",
    "acquisition_silence": "silence_seconds",
}


class SettingsError(Exception):
    """A setting is unknown, malformed or unsafe; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default. Times in seconds, sizes in bytes."""

    store: str = "sqlite:///var/teledossier.db"
    files: str = "var/files"
    host: str = "127.0.0.1"
    port: int = 8080
    base_url: str = ""
    auth: str = "smart"
    dimse_port: int = 11112
    ae_title: str = "TELEDOSSIER"
    dimse_unknown: str = "store"
    dimse_processes: int = 1
    dimse_tls_port: int = 2762
    dimse_certificate: str = ""
    dimse_key: str = ""
    dimse_authority: str = ""
    smtp_url: str = ""
    sms_url: str = ""
    timezone: str = "Europe/Paris"
    max_body: int = 50_000_000
    quiet_seconds: float = 2.0
    peer_keys: str = "var/peer-keys"
    log_level: str = "info"
    import_origins: str = ""
    mode: str = "auto"
    packages: str = "var/packages"
    compress_after: str = ""
    quotas: str = ""
    retention: str = ""
    purge_after: str = ""
    scan_rate: str = "5MB"
    acquisition_silence: str = "12h"

    @property
    def url(self) -> str:
        """What the outside calls this server, without a final slash."""
        return (self.base_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def fhir_base(self) -> str:
        return self.url + "/fhir"

    @property
    def import_from(self) -> frozenset[str]:
        """The origins (`https://host:port`) that `$import` may fetch from."""
        return frozenset(self.import_origins.replace(",", " ").split())

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def sqlite_path(self) -> Path:
        """The database file of a sqlite:/// store; relative paths are relative to the working directory."""
        return Path(self.store.removeprefix("sqlite:///"))

    @property
    def production(self) -> bool:
        """Whether this is for real people: as `mode` says, else when the outside reaches it by https."""
        if self.mode == "auto":
            url = urlsplit(self.url)
            return url.scheme == "https" and not is_loopback(url.hostname or "")
        return self.mode == "production"

    @property
    def compress_seconds(self) -> float | None:
        """The age at which image files are compressed without loss; None: never."""
        return duration(self.compress_after) if self.compress_after else None

    @property
    def quota_bytes(self) -> dict[str, int]:
        """Site → bytes of images that it may have here."""
        return by_site(self.quotas, size)

    @property
    def retention_seconds(self) -> dict[str, float]:
        """Site → how long its exams are kept after their télédossier is closed."""
        return by_site(self.retention, duration)

    @property
    def purge_seconds(self) -> float | None:
        """How long the files of masked images are kept; None: for ever."""
        return duration(self.purge_after) if self.purge_after else None

    @property
    def scan_bytes(self) -> int:
        """Bytes of image files that the worker reads again each second; 0: none."""
        return size(self.scan_rate) if self.scan_rate != "0" else 0

    @property
    def silence_seconds(self) -> float:
        """How long after a modality's last word or image an acquisition that it never ended is taken for
        interrupted."""
        found = duration(self.acquisition_silence)
        if not found:
            raise ValueError("more than nothing")
        return found

    @property
    def packages_path(self) -> Path:
        """The folder of the installed FHIR packages."""
        return Path(self.packages)

    @property
    def peer_keys_path(self) -> Path:
        """The folder of the keys and passwords for other systems that hold images."""
        return Path(self.peer_keys)

    @property
    def files_path(self) -> Path:
        return Path(self.files)


def load(environ: Mapping[str, str] = os.environ, toml: Path = Path("teledossier.toml")) -> Settings:
    """Read and check. Raises SettingsError."""
    known = {field.name: field for field in fields(Settings)}
    raw: dict[str, Any] = {}
    if toml.exists():
        try:
            table = tomllib.loads(toml.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{toml} is not valid TOML: {error}") from error
        raw.update(
            {
                key.removeprefix(PREFIX).lower(): value
                for key, value in table.items()
                if not (key == GATEWAY_TABLE and isinstance(value, dict))
            }
        )
    raw.update(
        {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(PREFIX) and name not in NOT_SETTINGS and not name.startswith(GATEWAY)
        }
    )
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            raise SettingsError(f"{PREFIX}{key.upper()} is not a setting; known: {', '.join(sorted(known))}")
        kind = type(getattr(Settings(), key))
        try:
            values[key] = kind(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise SettingsError(f"{PREFIX}{key.upper()}={value!r} is not a {kind.__name__}") from error
    settings = Settings(**values)
    _check(settings)
    return settings


def is_known(name: str) -> bool:
    """Whether a name in the environment means something to one of our programs."""
    own = name.removeprefix(PREFIX).lower()
    return name in NOT_SETTINGS or name.startswith(GATEWAY) or own in {one.name for one in fields(Settings)}


def _check(settings: Settings) -> None:
    if settings.auth not in ("smart", "open"):
        raise SettingsError(f"{PREFIX}AUTH={settings.auth!r}: only 'smart' or 'open'")
    if settings.auth == "open" and not is_loopback(settings.host):
        raise SettingsError(
            f"{PREFIX}AUTH=open is only for a loopback address, and {PREFIX}HOST is {settings.host!r}"
        )
    if not settings.store.startswith(("sqlite:///", "mongodb://", "mongodb+srv://")):
        raise SettingsError(f"{PREFIX}STORE={settings.store!r}: only sqlite:///PATH or mongodb://HOST/NAME")
    for name, meaning in _AMOUNTS.items():
        try:
            getattr(settings, meaning)
        except ValueError as error:
            raise SettingsError(f"{PREFIX}{name.upper()}={getattr(settings, name)!r}: {error}") from error
    if "://" in settings.files:
        raise SettingsError(
            f"{PREFIX}FILES={settings.files!r}: only a folder; this version keeps files in no object store"
        )
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise SettingsError(f"{PREFIX}LOG_LEVEL={settings.log_level!r}: debug, info, warning or error")
    if settings.mode not in ("auto", "production", "demonstration"):
        raise SettingsError(f"{PREFIX}MODE={settings.mode!r}: auto, production or demonstration")
    for name in ("port", "dimse_port", "dimse_tls_port"):
        if not 0 < getattr(settings, name) < 65536:
            raise SettingsError(f"{PREFIX}{name.upper()}={getattr(settings, name)}: not a port number")
    if settings.dimse_unknown not in ("store", "refuse"):
        raise SettingsError(f"{PREFIX}DIMSE_UNKNOWN={settings.dimse_unknown!r}: store or refuse")
    if not 0 < settings.dimse_processes <= 64:
        raise SettingsError(f"{PREFIX}DIMSE_PROCESSES={settings.dimse_processes}: 1 to 64")
    files = ("dimse_certificate", "dimse_key", "dimse_authority")
    missing = [name for name in files if not getattr(settings, name)]
    if 0 < len(missing) < len(files):
        raise SettingsError(
            f"{PREFIX}{missing[0].upper()} is not set: TLS for DICOM needs a certificate, its key, and the "
            "authority of the peers' certificates"
        )
    if not 0 < len(settings.ae_title) <= 16:
        raise SettingsError(f"{PREFIX}AE_TITLE={settings.ae_title!r}: an AE title has 1 to 16 characters")
    _check_address(settings)
    if settings.max_body < 1 or not 0 <= settings.quiet_seconds < 86_400:
        raise SettingsError(f"{PREFIX}MAX_BODY is at least 1, {PREFIX}QUIET_SECONDS from 0 to a day")
    try:
        ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(f"{PREFIX}TIMEZONE={settings.timezone!r} is not a time zone name") from error


def _check_address(settings: Settings) -> None:
    try:
        scheme = urlsplit(settings.url).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https"):
        raise SettingsError(f"{PREFIX}BASE_URL={settings.base_url!r} is not an http or https address")


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
