"""The choice of series before a transfer is sent: the page, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

from tests.portal.platform import platform


async def test_series_are_chosen_before_sending(tmp_path: Path) -> None:
    async with platform(tmp_path / "here") as here:
        id = await here.draft(workflow="transfert-imagerie")
        study = await here.exam(id, tmp_path / "made", series=3, images=9)
        uids = [one.uid for one in here.images.index.series_of(study)]
        async with here.as_("p08") as doctor:
            assert (
                f"/dossiers/{id}/envoi" in (await doctor.get(f"/dossiers/{id}", follow_redirects=True)).text
            )
            page = (await doctor.get(f"/dossiers/{id}/envoi")).text
            assert all(f'value="{uid}" checked' in page for uid in uids)
            none = await doctor.post(f"/dossiers/{id}/envoi", data={})
            assert none.status_code == 422
            assert "au moins une série" in none.text
            answer = await doctor.post(f"/dossiers/{id}/envoi", data={"serie": [uids[1]]})
            assert (answer.status_code, answer.headers["location"]) == (303, f"/dossiers/{id}?fait=series")
            assert here.images.queue.selected(id, study) == (uids[1],)
            page = (await doctor.get(f"/dossiers/{id}/envoi")).text
            assert [uid for uid in uids if f'value="{uid}" checked' in page] == [uids[1]]
            await doctor.post(f"/dossiers/{id}/envoi", data={"serie": uids})
            assert here.images.queue.selected(id, study) == ()  # all: also what the exam gets later
        async with here.as_("p20") as stranger:
            assert (await stranger.get(f"/dicom-web/requests/{id}/sending")).status_code == 404
            body = {"series": uids[:1]}
            assert (
                await stranger.put(f"/dicom-web/requests/{id}/sending/{study}", json=body)
            ).status_code == 404


async def test_what_is_no_choice_is_refused(tmp_path: Path) -> None:
    async with platform(tmp_path / "here") as here:
        id = await here.draft(workflow="transfert-imagerie")
        study = await here.exam(id, tmp_path / "made", series=2, images=4)
        base = f"/dicom-web/requests/{id}/sending"
        async with here.as_("p08") as doctor:
            for body in ({}, {"series": "1"}, {"series": ["x"]}, {"series": ["1.2.3"]}):
                answer = await doctor.put(f"{base}/{study}", json=body)
                assert (answer.status_code, answer.json()["code"]) == (400, "bad-selection"), body
            assert (await doctor.put(f"{base}/1.2.3", json={"series": []})).status_code == 404
            sent = await here.sent()
            await here.exam(sent, tmp_path / "again", series=2, images=4)
            answer = await doctor.put(f"/dicom-web/requests/{sent}/sending/{study}", json={"series": []})
            assert (answer.status_code, answer.json()["code"]) == (409, "already-sent")
        assert here.images.queue.selected(id, study) == ()
