"""DICOM over TLS both ways, with DCMTK and Orthanc. PS3.15 §B.12 (BCP 195), RFC 9325"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined,unused-ignore]

from dicomweb.dimse import tls
from dicomweb.gateway.settings import GatewaySettings
from dicomweb.peers.dimse import DimseSession, Ours
from dicomweb.peers.peer import Credentials, Peer
from dicomweb.peers.session import Sendable, Unreachable
from fhir_server.settings import Settings, SettingsError
from tests.dicomweb import making, pacs
from tests.dicomweb.certificates import Authority, Pair
from tests.dicomweb.node import Node
from tests.processes import unused_port


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "foreign")


@pytest.fixture
def node(tmp_path: Path, authority: Authority) -> Iterator[Node]:
    pair = authority.signs("node")
    started = Node(
        tmp_path / "node", unused_port(), dimse_tls_port=unused_port(),
        dimse_certificate=str(pair.certificate), dimse_key=str(pair.key),
        dimse_authority=str(authority.certificate),
    )  # fmt: skip
    started.start()
    yield started
    started.stop()


def storescu(node: Node, path: Path, *options: str) -> int:
    call = ["/usr/bin/storescu", *options, "127.0.0.1", str(node.settings.dimse_tls_port), str(path)]
    return subprocess.run(call, timeout=30, capture_output=True).returncode


def with_pair(pair: Pair, authority: Authority) -> list[str]:
    return ["+tls", str(pair.key), str(pair.certificate), "+cf", str(authority.certificate)]


@pytest.mark.peer("dcmtk")
def test_dcmtk_stores_over_tls_and_only_with_our_authoritys_certificate(
    node: Node, tmp_path: Path, authority: Authority, foreign: Authority
) -> None:
    (tmp_path / "one").mkdir()
    path = making.write(tmp_path / "one" / "1.dcm", making.dataset())
    refused = {
        "another authority": with_pair(foreign.signs("modality"), authority),
        "expired": with_pair(authority.signs("old", lasting=timedelta(hours=-1)), authority),
        "no certificate": ["+tla", "+cf", str(authority.certificate)],
        "plain on the TLS port": [],
        "a node it does not trust": with_pair(authority.signs("modality"), foreign),
    }
    index = node.index()
    for name, options in refused.items():
        assert storescu(node, path, *options) != 0, name
        assert index.study(making.STUDY) is None, name
    assert storescu(node, path, *with_pair(authority.signs("modality"), authority)) == 0
    assert index.study(making.STUDY) is not None
    index.close()
    # the plain port goes on beside it, and nothing of the failures is left
    call = ["/usr/bin/echoscu", "127.0.0.1", str(node.port)]
    assert subprocess.run(call, timeout=30).returncode == 0
    assert node.spooled() == []


@pytest.mark.parametrize(
    ("lowest", "highest", "suites", "taken"),
    [
        (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3, "", True),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", True),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-GCM-SHA384", True),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA", False),
    ],
)
def test_versions_and_suites_of_the_profile(
    node: Node,
    authority: Authority,
    lowest: ssl.TLSVersion,
    highest: ssl.TLSVersion,
    suites: str,
    taken: bool,
) -> None:
    pair = authority.signs("modality")
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(pair.certificate, pair.key)
    context.minimum_version, context.maximum_version = lowest, highest
    if suites:
        context.set_ciphers(suites)
    peer = AE("CT1")
    peer.add_requested_context(Verification)
    association = peer.associate("127.0.0.1", node.settings.dimse_tls_port, tls_args=(context, "127.0.0.1"))
    assert association.is_established == taken
    if taken:
        assert association.send_c_echo().Status == 0
        association.release()


def test_a_handshake_that_never_ends_holds_nobody_up(node: Node, authority: Authority) -> None:
    silent = [socket.create_connection(("127.0.0.1", node.settings.dimse_tls_port)) for _ in range(20)]
    pair = authority.signs("modality")
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(pair.certificate, pair.key)
    peer = AE("CT1")
    peer.add_requested_context(Verification)
    association = peer.associate("127.0.0.1", node.settings.dimse_tls_port, tls_args=(context, "127.0.0.1"))
    assert association.send_c_echo().Status == 0
    association.release()
    for one in silent:
        one.close()


@pytest.mark.peer("orthanc")
def test_to_and_from_orthanc_over_tls(node: Node, tmp_path: Path, authority: Authority) -> None:
    """Orthanc stores to our TLS port; as SCU we store to its own with a client certificate."""
    pair, ours = authority.signs("orthanc"), authority.signs("scu")
    here = node.settings.dimse_tls_port
    more = {
        "DicomTlsEnabled": True, "DicomTlsCertificate": str(pair.certificate),
        "DicomTlsPrivateKey": str(pair.key),
        "DicomTlsTrustedCertificates": str(authority.certificate), "DicomTlsRemoteCertificateRequired": True,
        "DicomModalities": {
            "us": {"AET": "TELEDOSSIER", "Host": "127.0.0.1", "Port": here, "UseDicomTls": True}
        },
    }  # fmt: skip
    path = making.write(tmp_path / "1.dcm", making.dataset())
    with pacs.orthanc(tmp_path / "orthanc", unused_port(), unused_port(), **more) as orthanc:
        keys = tmp_path / "keys"
        (keys / "pacs").mkdir(parents=True)
        shutil.copy(authority.certificate, keys / "pacs" / "ca.pem")
        both = ours.certificate.read_bytes() + ours.key.read_bytes()
        (keys / "pacs" / "client.pem").write_bytes(both)
        peer = Peer("pacs", "PACS", "", "dimse", "127.0.0.1", orthanc.peer.port, "ORTHANC", tls=True)
        session = DimseSession(peer, Ours("TELEDOSSIER", Credentials(keys)))
        session.echo()
        session.send(Sendable("2.25.1", making.dataset().SOPClassUID, making.SYNTAX, path))
        session.close()
        assert orthanc.instances() == ["2.25.1"]
        orthanc.give("us")
        index = node.index()
        assert index.file("2.25.1") is not None
        index.close()
        (keys / "pacs" / "client.pem").unlink()  # without a certificate Orthanc does not want us
        with pytest.raises(Unreachable):
            DimseSession(peer, Ours("TELEDOSSIER", Credentials(keys))).echo()


def test_files_that_cannot_be_used_stop_the_start(tmp_path: Path, authority: Authority) -> None:
    pair, other = authority.signs("a"), authority.signs("b")
    (tmp_path / "empty.pem").write_text("")
    good = {
        "dimse_certificate": str(pair.certificate), "dimse_key": str(pair.key),
        "dimse_authority": str(authority.certificate),
    }  # fmt: skip
    assert tls.of(Settings()) is None
    assert tls.of(Settings(**good)) is not None
    for name, value in (
        ("dimse_key", str(tmp_path / "none.key")), ("dimse_key", str(other.key)),
        ("dimse_authority", str(tmp_path / "empty.pem")),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match="TELEDOSSIER_DIMSE_"):
            tls.of(Settings(**{**good, name: value}))
        with pytest.raises(SettingsError, match="TELEDOSSIER_GATEWAY_DIMSE_"):
            tls.of(GatewaySettings(**{**good, name: value}), "TELEDOSSIER_GATEWAY_")
