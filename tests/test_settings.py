"""Settings: defaults, the file, the environment, and what stops the start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fhir_server.settings import NOT_SETTINGS, Settings, SettingsError, is_known, is_loopback, load


def test_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    settings = load({}, tmp_path / "none.toml")
    assert settings == Settings()
    assert (settings.store, settings.files) == ("sqlite:///var/teledossier.db", "var/files")
    assert (settings.host, settings.port, settings.dimse_port) == ("127.0.0.1", 8080, 11112)
    assert (settings.auth, settings.ae_title) == ("smart", "TELEDOSSIER")
    assert settings.fhir_base == "http://127.0.0.1:8080/fhir"


def test_every_setting_is_documented() -> None:
    guide = (Path(__file__).parent.parent / "docs" / "operator.md").read_text("utf-8")
    missing = [name for name in Settings.__slots__ if f"TELEDOSSIER_{name.upper()}" not in guide]
    assert missing == []


def test_what_only_the_tests_read_stops_no_start() -> None:
    root = Path(__file__).parent.parent
    texts = [path.read_text("utf-8") for room in ("tests", "bench") for path in (root / room).rglob("*.py")]
    texts += [(root / "Makefile").read_text("utf-8"), (root / ".ci" / "run").read_text("utf-8")]
    read = re.compile(
        r"""(?:environ(?:\.get\(|\[)|getenv\()["'](TELEDOSSIER_\w+)"""  # Python
        r"""|^\s*(?:export )?(TELEDOSSIER_\w+) ?[:?]?=""",  # make, bash
        re.M,
    )
    names = {first or second for text in texts for first, second in read.findall(text)}
    assert names >= NOT_SETTINGS
    assert [name for name in sorted(names) if not is_known(name)] == []
    assert load(dict.fromkeys(NOT_SETTINGS, "x"), Path("none")) == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "teledossier.toml"
    file.write_text('port = 9000\nTELEDOSSIER_AE_TITLE = "REGION"\n')
    settings = load({"TELEDOSSIER_PORT": "9001", "OTHER": "x"}, file)
    assert (settings.port, settings.ae_title) == (9001, "REGION")


def test_amounts() -> None:
    settings = Settings(
        quotas="CH-Dreux=1.5GB, *=2 TB", retention="*=2y,chu=90d", compress_after="12h", purge_after="30d"
    )
    assert settings.quota_bytes == {"ch-dreux": 1_500_000_000, "*": 2_000_000_000_000}
    assert settings.retention_seconds == {"*": 63_115_200, "chu": 7_776_000}
    assert (settings.compress_seconds, settings.purge_seconds) == (43_200, 2_592_000)
    assert (Settings().compress_seconds, Settings().purge_seconds, Settings().quota_bytes) == (None, None, {})
    assert (Settings().scan_bytes, Settings(scan_rate="0").scan_bytes) == (5_000_000, 0)


def test_base_url_has_no_final_slash() -> None:
    assert (
        load({"TELEDOSSIER_BASE_URL": "https://region.example/"}, Path("none")).url
        == "https://region.example"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TELEDOSSIER_PROT", "8080"),
        ("TELEDOSSIER_FILES", "s3://bucket/prefix"),
        ("TELEDOSSIER_QUOTAS", "500GB"),
        ("TELEDOSSIER_QUOTAS", "a=5GB, A=6GB"),
        ("TELEDOSSIER_RETENTION", "*=many"),
        ("TELEDOSSIER_COMPRESS_AFTER", "7"),
        ("TELEDOSSIER_PURGE_AFTER", "7GB"),
        ("TELEDOSSIER_SCAN_RATE", "-1MB"),
        ("TELEDOSSIER_ACQUISITION_SILENCE", "0h"),
        ("TELEDOSSIER_ACQUISITION_SILENCE", "12"),
        ("TELEDOSSIER_PORT", "many"),
        ("TELEDOSSIER_PORT", "0"),
        ("TELEDOSSIER_DIMSE_PORT", "65536"),
        ("TELEDOSSIER_AUTH", "none"),
        ("TELEDOSSIER_STORE", "postgres://here/db"),
        ("TELEDOSSIER_AE_TITLE", "SEVENTEEN-LETTERS"),
        ("TELEDOSSIER_BASE_URL", "ftp://region.example"),
        ("TELEDOSSIER_BASE_URL", "http://["),
        ("TELEDOSSIER_QUIET_SECONDS", "nan"),
        ("TELEDOSSIER_QUIET_SECONDS", "-1"),
        ("TELEDOSSIER_MAX_BODY", "0"),
        ("TELEDOSSIER_TIMEZONE", "Europe/Nowhere"),
        ("TELEDOSSIER_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load({name: value}, Path("none"))


@pytest.mark.parametrize(
    ("host", "safe"),
    [("127.0.0.1", True), ("::1", True), ("[::1]", True), ("localhost", True), ("127.9.9.9", True),
     ("0.0.0.0", False), ("10.0.0.1", False), ("region.example", False)],
)  # fmt: skip
def test_open_is_for_loopback_alone(host: str, safe: bool) -> None:
    assert is_loopback(host) is safe
    environment = {"TELEDOSSIER_AUTH": "open", "TELEDOSSIER_HOST": host}
    if safe:
        assert load(environment, Path("none")).auth == "open"
    else:
        with pytest.raises(SettingsError, match="loopback"):
            load(environment, Path("none"))


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"port = ", r"teledossier\.toml"), (b"\xff\xfe", r"teledossier\.toml"), (b"port = inf", "PORT")],
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, named: str) -> None:
    file = tmp_path / "teledossier.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=named):
        load({}, file)
