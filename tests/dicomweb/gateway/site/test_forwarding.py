"""A site's gateway from end to end: modality → gateway → platform, each its own process."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pynetdicom import AE

from tests.dicomweb import making
from tests.dicomweb.certificates import Authority, Pair
from tests.dicomweb.gateway.site.processes import CLIENT, STORESCU, Platform, Site, Wire
from tests.processes import eventually, unused_port

pytestmark = pytest.mark.peer("dcmtk")
Make = Callable[..., Site]


def exam(folder: Path, number: int, count: int, pixels: int = 256) -> tuple[str, list[Path]]:
    """A study of its own: UID and files; `pixels` of noise each, which no compression shortens."""
    study = f"2.25.{number}"
    folder.mkdir(parents=True)
    noise = hashlib.shake_256(study.encode()).digest(2 * pixels)
    made = [
        making.write(
            folder / f"{n}.dcm",
            making.dataset(
                StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1", SOPInstanceUID=f"{study}.1.{n}",
                InstanceNumber=n, Rows=pixels // 16, PixelData=noise,
            ),
        )
        for n in range(1, count + 1)
    ]  # fmt: skip
    return study, made


def sent(study: str, count: int) -> set[str]:
    return {f"{study}.1.{n}" for n in range(1, count + 1)}


def whole(platform: Platform, study: str) -> set[str]:
    """The instances that the platform has, each once, with the content that the gateway acknowledged."""
    stored = platform.stored(study)
    with platform.index() as index:
        found = index.study(study)
        origins = {one.instance: one for one in index.origins(study)}
    assert (found.instance_count if found else 0) == len(stored)
    assert set(origins) == set(stored)
    for uid, content in stored.items():
        assert origins[uid].sha256 == hashlib.sha256(content).hexdigest()
    return set(stored)


@pytest.fixture
def wire(platform: Platform) -> Iterator[Wire]:
    opened = Wire(platform.port)
    yield opened
    opened.close()


def through(wire: Wire) -> str:
    return f"http://127.0.0.1:{wire.port}"


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_what_a_modality_sends_is_on_the_platform_byte_for_byte(
    platform: Platform, site: Make, tmp_path: Path, compression: str
) -> None:
    gateway = site(compression=compression)
    gateway.start()
    study, paths = exam(tmp_path / "exam", 1000 + len(compression), 12)
    gateway.send(paths)
    assert gateway.emptied()
    assert whole(platform, study) == sent(study, 12)
    with platform.index() as index:
        assert {(one.gateway, one.ae_title) for one in index.origins(study)} == {(CLIENT, "CT1")}
        found = index.study(study)
    assert found is not None
    assert (found.source, found.calling_ae) == ("ch-auch", "CT1")
    assert gateway.stop() == 0


def test_nothing_is_lost_while_the_platform_is_away(platform: Platform, site: Make, tmp_path: Path) -> None:
    gateway = site()
    platform.stop()
    try:
        gateway.start()
        study, paths = exam(tmp_path / "exam", 1100, 40)
        gateway.send(paths)
        gateway.stop()
        gateway.start()  # what waits outlives the gateway too
        assert not gateway.is_empty()
        assert eventually(lambda: gateway.state().get("problems") != {})
    finally:
        platform.start()
    assert gateway.emptied()
    assert whole(platform, study) == sent(study, 40)


def test_what_comes_again_is_acknowledged_and_not_sent_again(
    platform: Platform, site: Make, wire: Wire, tmp_path: Path
) -> None:
    gateway = site(through(wire), health_seconds="600")
    study, paths = exam(tmp_path / "exam", 1200, 5, pixels=20_000)
    gateway.start()
    for _again in range(3):
        gateway.send(paths)
    assert gateway.emptied()
    carried = wire.passed
    gateway.send(paths)
    gateway.stop()
    gateway.start()
    gateway.send(paths)
    assert gateway.emptied()
    with gateway.outbox() as outbox:
        assert outbox.summary().delivered_count == 5
    assert wire.passed - carried < 20_000  # reports and tokens, no image
    changed = making.write(
        tmp_path / "changed.dcm",
        making.dataset(StudyInstanceUID=study, SOPInstanceUID=f"{study}.1.1", PatientComments="changed"),
    )
    gateway.send([changed])
    assert gateway.emptied()
    with gateway.outbox() as outbox:
        assert (outbox.summary().delivered_count, outbox.summary().apart) == (6, 0)
    with platform.index() as index:
        assert len(index.conflicts(f"{study}.1.1")) == 1
    assert set(platform.stored(study)) == sent(study, 5)


def test_a_line_cut_within_bodies_loses_nothing_and_doubles_nothing(
    platform: Platform, site: Make, wire: Wire, tmp_path: Path
) -> None:
    gateway = site(through(wire), request_bytes="200000", compression="none")
    study, paths = exam(tmp_path / "exam", 1300, 30, pixels=20_000)
    gateway.start()
    wire.cut_after = 150_000
    gateway.send(paths)
    assert eventually(lambda: wire.cuts >= 4)
    wire.cut_after = -1
    assert gateway.emptied()
    assert whole(platform, study) == sent(study, 30)


def test_what_is_altered_on_the_way_is_refused_and_sent_again(
    platform: Platform, site: Make, wire: Wire, tmp_path: Path
) -> None:
    gateway = site(through(wire), compression="none", health_seconds="600")
    study, paths = exam(tmp_path / "exam", 1350, 2, pixels=20_000)
    gateway.start()
    wire.flip_after = 20_000  # within the pixels of the first instance
    gateway.send(paths)
    assert gateway.emptied()
    assert wire.flip_after == -1
    with sqlite3.connect(gateway.folder / "var" / "outbox.db") as connection:
        tries = connection.execute("SELECT uid, attempts FROM instance ORDER BY n").fetchall()
    connection.close()
    assert tries == [(f"{study}.1.1", 1), (f"{study}.1.2", 0)]
    assert whole(platform, study) == sent(study, 2)
    assert platform.stored(study)[f"{study}.1.1"][-40_000:] == paths[0].read_bytes()[-40_000:]


def test_urgent_overtakes_what_waits_and_what_is_under_way(
    platform: Platform, site: Make, wire: Wire, tmp_path: Path
) -> None:
    gateway = site(through(wire), urgent="ae:SCANAVC, priority:STAT", compression="none")
    routine, backlog = exam(tmp_path / "routine", 1400, 150, pixels=20_000)
    by_title, avc = exam(tmp_path / "avc", 1401, 3)
    by_priority, _paths = exam(tmp_path / "unused", 1402, 1)
    stat = making.write(
        tmp_path / "stat.dcm",
        making.dataset(
            StudyInstanceUID=by_priority,
            SOPInstanceUID=f"{by_priority}.1.1",
            RequestedProcedurePriority="STAT",
        ),
    )
    wire.rate = 1_000_000
    gateway.start()
    gateway.send(backlog)
    began = time.monotonic()
    gateway.send(avc, calling="SCANAVC")
    gateway.send([stat])
    assert eventually(lambda: set(platform.stored(by_title)) == sent(by_title, 3), 10)
    assert eventually(lambda: set(platform.stored(by_priority)) == sent(by_priority, 1), 10)
    took = time.monotonic() - began
    left = 150 - len(platform.stored(routine))
    assert left > 60, f"{left} of the backlog are left after {took:.1f} s"
    wire.rate = 0
    assert gateway.emptied()
    assert whole(platform, routine) == sent(routine, 150)


def test_no_room_is_said_and_passes(platform: Platform, site: Make, tmp_path: Path) -> None:
    gateway = site(quota="100000")
    study, paths = exam(tmp_path / "exam", 1500, 6, pixels=20_000)
    platform.stop()
    try:
        gateway.start()
        command = [STORESCU, "-v", "-R", "-aet", "CT1", "127.0.0.1", str(gateway.port), *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode != 0
        assert "OutOfResources" in (done.stdout + done.stderr)
        with gateway.outbox() as outbox:
            assert outbox.summary().waiting == 2
    finally:
        platform.start()
    assert gateway.emptied()
    for path in paths:  # what was delivered makes room
        gateway.send([path])
        assert gateway.emptied()
    assert whole(platform, study) == sent(study, 6)


def test_only_known_titles_may_call(site: Make) -> None:
    gateway = site(callers="CT1, IRM2")
    gateway.start()
    for title, expected in (("CT1", True), ("IRM2", True), ("OTHER", False)):
        peer = AE(title)
        peer.add_requested_context("1.2.840.10008.1.1")
        association = peer.associate("127.0.0.1", gateway.port, ae_title="PASSERELLE")
        assert association.is_established == expected
        if expected:
            assert association.send_c_echo().Status == 0
            association.release()


def test_a_modality_with_a_certificate_stores_by_tls(platform: Platform, site: Make, tmp_path: Path) -> None:
    """Beside the plain port; one without a certificate of the site's authority does not."""
    authority, secure = Authority(tmp_path / "ours"), unused_port()
    pair, modality, foreign = authority.signs("gateway"), authority.signs("ct"), Authority(tmp_path / "other")
    gateway = site(
        dimse_certificate=str(pair.certificate), dimse_key=str(pair.key),
        dimse_authority=str(authority.certificate), dimse_tls_port=str(secure),
    )  # fmt: skip
    gateway.start()
    study, paths = exam(tmp_path / "exam", 77001, 2)

    def by_tls(path: Path, own: Pair) -> int:
        call = [STORESCU, "+tls", str(own.key), str(own.certificate), "+cf", str(authority.certificate)]
        call += ["127.0.0.1", str(secure), str(path)]
        return subprocess.run(call, timeout=60, capture_output=True).returncode

    assert by_tls(paths[0], foreign.signs("ct")) != 0
    assert by_tls(paths[0], modality) == 0
    assert (
        subprocess.run([STORESCU, "127.0.0.1", str(gateway.port), str(paths[1])], timeout=60).returncode == 0
    )
    assert gateway.emptied()
    assert whole(platform, study) == sent(study, 2)


def test_a_gateway_with_a_foreign_key_does_not_start(site: Make, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ours")
    gateway = site(
        dimse_certificate=str(authority.signs("a").certificate), dimse_key=str(authority.signs("b").key),
        dimse_authority=str(authority.certificate), dimse_tls_port=str(unused_port()),
    )  # fmt: skip
    done = gateway.run()
    assert done.returncode != 0
    assert "TELEDOSSIER_GATEWAY_DIMSE_CERTIFICATE" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_damaged_file_and_a_lost_one_stand_apart_and_are_named(
    platform: Platform, site: Make, tmp_path: Path
) -> None:
    gateway = site()
    study, paths = exam(tmp_path / "exam", 1600, 3, pixels=2000)
    platform.stop()
    try:
        gateway.start()
        gateway.send(paths)
        gateway.stop()
        with sqlite3.connect(gateway.folder / "var" / "outbox.db") as connection:
            kept = dict(connection.execute("SELECT uid, path FROM instance").fetchall())
        connection.close()
        files = gateway.folder / "var" / "files"
        damaged = files / kept[f"{study}.1.1"]
        content = bytearray(damaged.read_bytes())
        content[-7] ^= 1
        damaged.write_bytes(content)
        (files / kept[f"{study}.1.2"]).unlink()
    finally:
        platform.start()
    gateway.start()
    assert gateway.emptied()
    with gateway.outbox() as outbox:
        assert {one.uid: one.reason for one in outbox.apart()} == {
            f"{study}.1.1": "file-damaged", f"{study}.1.2": "file-lost",
        }  # fmt: skip
    assert set(platform.stored(study)) == {f"{study}.1.3"}
    said = gateway.run("status")
    assert said.returncode == 1
    assert f"{study}.1.1 from CT1: file-damaged" in said.stdout
    assert "apart      2" in said.stdout


def test_health_is_told_and_status_is_good_when_all_is(
    platform: Platform, site: Make, tmp_path: Path
) -> None:
    gateway = site()
    gateway.start()
    _study, paths = exam(tmp_path / "exam", 1700, 2)
    gateway.send(paths)
    assert gateway.emptied()
    assert eventually(lambda: bool(gateway.state()["delivered"]))
    assert gateway.state()["waiting"] == {"instances": 0, "bytes": 0, "oldest": 0.0}
    assert gateway.state()["problems"] == {}
    said = gateway.run("status")
    assert (said.returncode, said.stderr) == (0, "")
    assert "delivered  2" in said.stdout
    gateway.stop()
    assert "does not run" in gateway.run("status").stdout


def test_two_gateways_never_share_a_folder(site: Make) -> None:
    gateway = site()
    gateway.start()
    second = gateway.run()
    assert second.returncode == 1
    assert second.stderr.strip().endswith("runs on " + str(gateway.folder / "var") + " already")
    assert "Traceback" not in second.stderr


def test_delivered_files_go_after_their_time(platform: Platform, site: Make, tmp_path: Path) -> None:
    gateway = site(keep_days="0")
    gateway.start()
    study, paths = exam(tmp_path / "exam", 1800, 2)
    gateway.send(paths)
    assert gateway.emptied()
    gateway.stop()
    gateway.start()
    files = gateway.folder / "var" / "files" / "dicom"
    assert eventually(lambda: not [one for one in files.glob("*/*") if one.is_file()])
    gateway.send(paths)  # still known as delivered
    with gateway.outbox() as outbox:
        assert (outbox.summary().waiting, outbox.summary().delivered_count) == (0, 2)
    assert whole(platform, study) == sent(study, 2)


def test_a_damaged_outbox_is_named_and_without_it_every_file_is_delivered(
    platform: Platform, site: Make, tmp_path: Path
) -> None:
    study, paths = exam(tmp_path / "exam", 2900, 5)
    away = site(url="http://127.0.0.1:1")
    away.start()
    away.send(paths)
    away.stop()
    outbox = away.folder / "var" / "outbox.db"
    with sqlite3.connect(outbox) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    pages = bytearray(outbox.read_bytes())
    pages[4096 : 4096 * 6] = b"\x55" * 4096 * 5
    outbox.write_bytes(pages)
    for words in ((), ("status",), ("retry",), ("exams",)):
        done = away.run(*words)
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last.startswith("teledossier: ")
        assert str(outbox) in last
        assert "move it away" in last
        assert "Traceback" not in done.stderr
    for path in outbox.parent.glob("outbox.db*"):
        path.unlink()
    away.environment["TELEDOSSIER_GATEWAY_PLATFORM"] = f"http://127.0.0.1:{platform.port}"
    away.start()
    assert away.emptied()
    assert whole(platform, study) == sent(study, 5)
