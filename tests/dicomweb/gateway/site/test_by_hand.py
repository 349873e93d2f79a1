"""Plan B: the platform is away, an exam goes from one site's gateway straight to another's. R168"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dicomweb.gateway.site.processes import Platform
from tests.dicomweb.gateway.site.test_forwarding import Make, exam, sent, whole

pytestmark = pytest.mark.peer("dcmtk")


def test_an_exam_goes_to_the_other_site_and_both_deliver_it_later(
    platform: Platform, site: Make, tmp_path: Path
) -> None:
    here, there = site(), site(ae_title="CHU", callers="PASSERELLE")
    study, paths = exam(tmp_path / "exam", 4000, 4)
    platform.stop()
    try:
        here.start()
        there.start()
        here.send(paths)
        listed = here.run("exams")
        assert listed.returncode == 0, listed.stderr
        assert study in listed.stdout
        assert "LABORDE^Henri (AU-300003), 19530517: CT Crâne" in listed.stdout
        assert "4 images, 0 MB, 4 wait" in listed.stdout
        told = here.run("send", study, f"CHU=127.0.0.1:{there.port}")
        assert (told.returncode, told.stdout) == (0, "4 instances are there\n"), told.stderr
        with there.outbox() as outbox:
            assert outbox.summary().waiting == 4
        with here.outbox() as outbox:
            assert outbox.summary().waiting == 4  # still owed to the platform
    finally:
        platform.start()
    assert here.emptied()
    assert there.emptied()
    assert whole(platform, study) == sent(study, 4)
    with platform.index() as index:
        assert index.conflicts(f"{study}.1.1") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("send", "2.25.4100", "nowhere"), "where to send is AETITLE=host:port"),
        (("send", "2.25.4100", "CHU=127.0.0.1:1"), "nothing of 2.25.4100 is kept here"),
    ],
)
def test_what_cannot_be_sent_is_said(site: Make, words: tuple[str, ...], said: str) -> None:
    gateway = site()
    gateway.start()
    found = gateway.run(*words)
    assert (found.returncode, found.stdout) == (1, "")
    assert said in found.stderr
    assert "Traceback" not in found.stderr
