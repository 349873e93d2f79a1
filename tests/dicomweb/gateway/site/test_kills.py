"""The gateway killed at any point, and lines that are not what they should be: nothing acknowledged is
missing, nothing is there twice."""

from __future__ import annotations

import gc
import random
import signal
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dicomweb.dimse.spool import HELD
from simulators.modality.send import NotSent, send
from tests.dicomweb.gateway.site.processes import Platform, Site, Wire
from tests.dicomweb.gateway.site.test_forwarding import Make, exam, sent, through, whole, wire
from tests.processes import eventually

__all__ = ["wire"]


def modality(folder: Path, gateway: Site, over: threading.Event) -> None:
    """Sends until everything was acknowledged; what was, is never sent again."""
    while not over.is_set():
        with suppress(NotSent, OSError, RuntimeError):
            send(folder, "127.0.0.1", gateway.port, "PASSERELLE", calling="CT1")
            return
        over.wait(0.2)


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_killed_at_many_points(platform: Platform, site: Make, wire: Wire, tmp_path: Path) -> None:
    """Reception and delivery run at once while the process dies again and again."""
    gateway = site(through(wire), request_bytes="100000")
    study, _paths = exam(tmp_path / "exam", 2000, 300, pixels=10_000)
    wire.rate = 2_000_000
    over, chance = threading.Event(), random.Random(5)
    gateway.start()
    sender = threading.Thread(target=modality, args=(tmp_path / "exam", gateway, over))
    sender.start()
    try:
        for _kill in range(15):
            threading.Event().wait(chance.uniform(0.05, 0.6))
            gateway.stop(signal.SIGKILL)
            gateway.start()
        wire.rate = 0
        sender.join(90)
        assert not sender.is_alive()
    finally:
        over.set()
        sender.join(30)
    assert gateway.emptied(60)
    assert whole(platform, study) == sent(study, 300)
    with gateway.outbox() as outbox:
        assert (outbox.summary().delivered_count, outbox.summary().apart) == (300, 0)
    files = gateway.folder / "var" / "files"
    assert len([one for one in (files / "dicom").glob("*/*") if one.is_file()]) == 300
    spooled = [one for one in (files / "spool").rglob("*") if one.is_file() and one.name != HELD]
    assert spooled == []
    gc.collect()  # those sockets, while this test lets them pass


@pytest.mark.peer("dcmtk")
def test_killed_after_the_platform_stored_and_before_it_knows(
    platform: Platform, site: Make, wire: Wire, tmp_path: Path
) -> None:
    """The answer to STOW-RS never arrives: the platform has the instances, the outbox does not know."""
    gateway = site(through(wire))
    study, paths = exam(tmp_path / "exam", 2100, 8)
    gateway.start()
    gateway.send(paths[:1])
    assert gateway.emptied()
    wire.mute = True
    gateway.send(paths[1:])
    assert eventually(lambda: len(platform.stored(study)) > 1)
    gateway.stop(signal.SIGKILL)
    with gateway.outbox() as outbox:
        assert outbox.summary().waiting == 7
    wire.mute = False
    gateway.start()
    assert gateway.emptied()
    assert whole(platform, study) == sent(study, 8)
    with platform.index() as index:
        assert index.conflicts(f"{study}.1.1") == []


@pytest.mark.peer("dcmtk")
def test_killed_within_a_c_store_leaves_nothing_and_the_modality_sends_again(
    platform: Platform, site: Make, tmp_path: Path
) -> None:
    gateway = site()
    gateway.start()
    spool = gateway.folder / "var" / "files" / "spool"
    left = spool / "node-0" / "tmp-of-a-killed-one"
    gateway.stop(signal.SIGKILL)
    left.write_bytes(b"half")
    orphan = gateway.folder / "var" / "files" / "dicom" / "ab"
    orphan.mkdir()
    (orphan / ("ab" * 32)).write_bytes(b"in place, its row never written")
    gateway.start()
    assert not left.exists()
    assert list(orphan.iterdir()) == []
    study, paths = exam(tmp_path / "exam", 2200, 2)
    gateway.send(paths)
    assert gateway.emptied()
    assert whole(platform, study) == sent(study, 2)


def authority(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A test CA (its file), and a server's context with a certificate of it for 127.0.0.1."""
    now = datetime.now(UTC)

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        names = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
        issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        return (
            x509.CertificateBuilder()
            .subject_name(names).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        )  # fmt: skip

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    ca = certificate(name, ca_key).add_extension(constraints, critical=True)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    server = certificate("platform", key).add_extension(address, critical=False)
    ca_file, server_file = folder / f"{name}.pem", folder / f"{name}-server.pem"
    ca_file.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    server_file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + server.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_file)
    return ca_file, context


@pytest.fixture
def tls(platform: Platform, tmp_path: Path) -> Iterator[tuple[Wire, Path]]:
    """The platform behind TLS, and the file of the CA that signed it."""
    ca_file, context = authority(tmp_path, "ours")
    opened = Wire(platform.port, context)
    yield opened, ca_file
    opened.close()


@pytest.mark.peer("dcmtk")
def test_tls_with_the_sites_own_authority(
    platform: Platform, site: Make, tls: tuple[Wire, Path], tmp_path: Path
) -> None:
    """Delivered when the certificate verifies; with another authority, or another name, nothing is said."""
    wire, ca_file = tls
    other, _context = authority(tmp_path, "other")
    study, paths = exam(tmp_path / "exam", 2300, 2)
    wrong = {
        "other authority": site(f"https://127.0.0.1:{wire.port}", ca_file=str(other)),
        "other name": site(f"https://localhost:{wire.port}", ca_file=str(ca_file)),
    }
    for gateway in wrong.values():
        gateway.start()
        gateway.send(paths)
        assert eventually(lambda one=gateway: "no-connection" in one.log.read_text())  # type: ignore[misc]
        assert not gateway.is_empty()
        gateway.stop()
    assert wire.passed == 0
    right = site(f"https://127.0.0.1:{wire.port}", ca_file=str(ca_file))
    right.start()
    right.send(paths)
    assert right.emptied()
    assert whole(platform, study) == sent(study, 2)
    assert wire.passed > 0


@pytest.mark.peer("dcmtk")
def test_signed_on_by_its_own_key(platform: Platform, site: Make, tmp_path: Path) -> None:
    """private_key_jwt. RFC 7523 §2.2"""
    gateway = site()
    public = gateway.run("key", "key.json")
    assert public.returncode == 0, public.stderr
    assert gateway.run("key", "key.json").returncode == 1  # never written over
    (tmp_path / "jwks.json").write_text(public.stdout)
    platform.run(
        "client", "add", "by-key", "--scope", "system/ImagingStudy.c", "--jwks", str(tmp_path / "jwks.json")
    )
    keyed = site(client="by-key", secret_file="", key_file=str(gateway.folder / "key.json"))
    keyed.start()
    study, paths = exam(tmp_path / "exam", 2400, 2)
    keyed.send(paths)
    assert keyed.emptied()
    assert whole(platform, study) == sent(study, 2)
