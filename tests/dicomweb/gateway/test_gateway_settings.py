"""The gateway's settings: file and environment, and what stops the start, named by key and value."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dicomweb.gateway.settings import PREFIX, GatewaySettings, load
from fhir_server import settings as platform
from fhir_server.commands.gateway import command
from fhir_server.settings import SettingsError
from profiles.outcomes import Conflict


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """What every gateway needs."""
    secret = tmp_path / "secret"
    secret.write_text("s")
    secret.chmod(0o600)
    return {
        PREFIX + "PLATFORM": "https://region.example/", PREFIX + "CLIENT": "gw",
        PREFIX + "SECRET_FILE": str(secret),
    }  # fmt: skip


def test_read_from_the_environment_and_the_file(given: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "teledossier.toml"
    file.write_text('port = 9000\n[gateway]\nport = 104\nae_title = "AUCH"\nkeep_days = 2\n')
    found = load({**given, PREFIX + "AE_TITLE": "GATEWAY", "OTHER": "x", "TELEDOSSIER_PORT": "1"}, file)
    assert (found.url, found.port, found.ae_title, found.keep_days) == (
        "https://region.example", 104, "GATEWAY", 2.0,
    )  # fmt: skip
    assert platform.load({**given}, file).port == 9000  # the platform's settings beside them


def test_lists_and_hours(given: dict[str, str]) -> None:
    found = load(
        {
            **given, PREFIX + "CALLERS": "CT1, SCAN AVC",
            PREFIX + "COMMITMENT": "CT1=ct1.local:104, CT2=ct2:105",
            PREFIX + "URGENT": "ae:SCAN,modality:xa, priority:STAT",
            PREFIX + "START": "20:00", PREFIX + "UNTIL": "06:30",
        },
        Path("none"),
    )  # fmt: skip
    assert found.calling == ["CT1", "SCAN AVC"]
    assert {title: (one.host, one.port) for title, one in found.asking.items()} == {
        "CT1": ("ct1.local", 104), "CT2": ("ct2", 105),
    }  # fmt: skip
    assert found.rules == {("ae", "SCAN"), ("modality", "XA"), ("priority", "STAT")}
    assert found.window is not None
    assert (found.window.start, found.window.end) == (1200, 390)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PLATFORM", ""), ("PLATFORM", "http://region.example"), ("PLATFORM", "ftp://region.example"),
        ("PLATFORM", "https://user:pass@region.example"), ("PLATFORM", "https://region.example:port"),
        ("PLATFORM", "https://region.example/?a=1"), ("CLIENT", ""), ("SECRET_FILE", "/nowhere"),
        ("SECRET_FILE", ""), ("KEY_FILE", "/nowhere"), ("CA_FILE", "/nowhere"), ("PORT", "65536"),
        ("PORT", "many"), ("AE_TITLE", "SEVENTEEN_LETTERS"), ("AE_TITLE", ""), ("AE_TITLE", "A\\B"),
        ("CALLERS", "CT1,SEVENTEEN_LETTERS"), ("HOST", ""), ("URGENT", "always"), ("URGENT", "ae:"),
        ("QUOTA", "-1"), ("RESERVE", "0"), ("KEEP_DAYS", "-1"), ("KEEP_DAYS", "nan"), ("RATE", "-5"),
        ("COMPRESSION", "brotli"), ("REQUEST_BYTES", "1"), ("REQUEST_BYTES", "100000000"),
        ("RETRY_SECONDS", "0"), ("HEALTH_SECONDS", "0"), ("START", "25:00"), ("UNTIL", "06:00"),
        ("TIMEZONE", "Europe/Nowhere"), ("LOG_LEVEL", "loud"), ("PEERS", "AUCH"), ("COMMITMENT", "CT1"),
        ("COMMITMENT", "CT1=host:70000"), ("UNKNOWN", "1"), ("DIMSE_TLS_PORT", "70000"),
        ("DIMSE_CERTIFICATE", "alone.pem"), ("DIMSE_KEY", "alone.pem"), ("DIMSE_AUTHORITY", "alone.pem"),
    ],
)  # fmt: skip
def test_what_is_wrong_stops_the_start_and_is_named(given: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=PREFIX + name):
        load({**given, PREFIX + name: value}, Path("none"))


def test_a_misspelt_prefix_is_noticed(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="TELEDOSSIER_GATEWY_PORT"):
        load({**given, "TELEDOSSIER_GATEWY_PORT": "1"}, Path("none"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_plain_http_is_for_this_machine_alone(given: dict[str, str], host: str) -> None:
    assert (
        load({**given, PREFIX + "PLATFORM": f"http://{host}:8080"}, Path("none")).url == f"http://{host}:8080"
    )


def test_a_secret_that_others_may_read_stops_the_start(given: dict[str, str]) -> None:
    Path(given[PREFIX + "SECRET_FILE"]).chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        load(given, Path("none"))


def test_every_setting_is_documented() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "gateway.md").read_text("utf-8")
    missing = [name for name in GatewaySettings.__slots__ if f"`{name.upper()}`" not in guide]
    assert missing == []


@pytest.mark.parametrize("content", [b"[gateway", b"\xff\xfe", b"gateway = 1", b"[gateway]\nrate = inf"])
def test_a_broken_file_stops_the_start(given: dict[str, str], tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError):
        load(given, file)


def test_a_key_file_that_holds_no_key_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key.pem"
    key.write_text("nonsense")
    key.chmod(0o600)
    for name, value in (("PLATFORM", "https://p.example"), ("CLIENT", "gw"), ("KEY_FILE", str(key))):
        monkeypatch.setenv(PREFIX + name, value)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, [])
    assert isinstance(done.exception, Conflict)
    assert "holds no private RSA or P-384 key" in str(done.exception)
