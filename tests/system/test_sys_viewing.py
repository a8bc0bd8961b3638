"""A viewer at the real archive: few entries for many requests, cut at once, closed when the front stops."""

from __future__ import annotations

from pathlib import Path

from helpers.archive import Archive, new_archive
from ribcage.guard import protocol as p
from ribcage.oversight.studies import make_study
from system.senders import SUCCESS, instance_of, send

FRAME = "multipart/related; type=application/octet-stream; transfer-syntax=*"


def entries(archive: Archive, kind: str) -> list[str]:
    page = archive.ask(p.AuditPage(start=0, count=1000), p.AuditEntries)
    return [text for _, text in page.entries if f'"{kind}"' in text]


def test_a_viewer_at_the_real_archive(tmp_path: Path) -> None:
    study = make_study(31, 5)
    one = instance_of(study.file)
    with new_archive(tmp_path) as archive:
        assert send(archive, archive.device("cr1", "CR1", "store"), one) == SUCCESS
        doctor = archive.person("li", "clinician")
        grant = archive.grant("person:li", f"study:{one.study}", "full")
        place = f"/dicom-web/studies/{one.study}/series/{one.series}/instances/{one.uid}"
        views = []
        for path in ("/metadata", "/frames/1", "/bulkdata/7FE00010", "/rendered", "/thumbnail"):
            answer = doctor.request(place + path, Accept=FRAME if "frames" in path else "*/*")
            assert answer.status == 200, path
            views.append(answer.headers["x-ribcage-view"])
        for whole in (
            f"/dicom-web/studies/{one.study}",
            f"/dicom-web/studies/{one.study}/series/{one.series}",
        ):
            answer = doctor.request(f"{whole}/rendered?viewport=200,200", Accept="image/jpeg")
            assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
            assert answer.headers["content-location"] == f"{place}/frames/1/rendered"
            views.append(answer.headers["x-ribcage-view"])
        assert set(views) == {"masked"}
        assert len(entries(archive, "disclosure-allowed")) == 1
        assert doctor.step_up().status == 200
        full = [doctor.request(f"{place}/frames/1", Accept=FRAME) for _ in range(5)]
        assert {answer.headers["x-ribcage-view"] for answer in full} == {"full"}
        assert len({answer.headers["x-ribcage-receipt"] for answer in full}) == 1
        assert len(entries(archive, "disclosure-allowed")) == 2
        archive.revoke(grant)
        assert doctor.request(f"{place}/frames/1", Accept=FRAME).status == 403
        archive.grant("person:li", f"study:{one.study}", "full")
        assert doctor.request(f"{place}/frames/1", Accept=FRAME).status == 200
        assert doctor.request("/api/logout", b"{}", Content_Type="application/json").status in (200, 204)
        assert doctor.request(f"{place}/frames/1", Accept=FRAME).status == 401
        other = archive.person("wu", "clinician")
        archive.grant("person:wu", f"study:{one.study}", "full")
        assert other.request(f"{place}/frames/1", Accept=FRAME).status == 200
        archive.stop()  # the viewing that is still open gets its closing entry
        archive.start()
        opened, closed = entries(archive, "disclosure-allowed"), entries(archive, "disclosure-closed")
        assert (len(opened), len(closed)) == (4, 4)
        archive.kill()
        archive.start()
        again = other.request(f"{place}/frames/1", Accept=FRAME)
        assert again.status == 200
        assert again.headers["x-ribcage-view"] == "masked"
