"""A ground for drills without Ribcage: two open archives, stocked, and what attackers carry."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from pathlib import Path

from ribcage.crypto import authority
from ribcage.oversight.drill.open_archive import Pair as ServerPair
from ribcage.oversight.drill.target import Holdings, Listener, Login, Modality, Pair, StudyRef
from ribcage.oversight.drill.twin import Stock, Twin, running_twins
from ribcage.oversight.studies import make_study

SEED = 11


def make_stock(folder: Path) -> Stock:
    """Eight stored studies, one file to be sent, certificates of a foreign authority."""
    studies = [make_study(SEED, ordinal) for ordinal in range(8)]
    fresh = make_study(SEED, 100)
    (folder / "fresh.dcm").write_bytes(fresh.file)
    seeds = [list(one.identity.needles()) for one in [*studies, fresh]]
    (folder / "seeds.json").write_text(json.dumps(seeds), encoding="utf-8")
    now = datetime.datetime.now(datetime.UTC)
    root = authority.make_root("Nobody", now=now)
    (folder / "ca.crt").write_bytes(root.certificate_pem)
    pairs = {}
    for name in ("server", "stranger", "modality", "other"):
        issued = authority.issue_client(root, name, now=now, kind="ec")
        (folder / f"{name}.crt").write_bytes(issued.certificate_pem)
        (folder / f"{name}.key").write_bytes(issued.private_key_pem)
        pairs[name] = (str(folder / f"{name}.crt"), str(folder / f"{name}.key"))
    refs = [StudyRef(one.study_uid, one.series_uid, one.instance_uid) for one in studies]
    holdings = Holdings(
        dicom=Listener("127.0.0.1", 1, tls=False),
        web=Listener("127.0.0.1", 1, tls=False),
        ca=str(folder / "ca.crt"),
        own=Pair(*pairs["stranger"]),
        device=Modality(*pairs["modality"], "CR1"),
        innocent=Modality(*pairs["other"], "CT1"),
        known_ae="VIEWER",
        intruder=Login("intruder", "intruder's own"),
        doctor=Login("doctor", "doctor's own"),
        forgetful=Login("forgetful", "forgetful's own", "JBSWY3DPEHPK3PXP"),
        study=refs[0],
        other=refs[1],
        seeds=str(folder / "seeds.json"),
        files=(str(folder / "fresh.dcm"),),
        seconds=1.0,
    )
    return Stock(studies, holdings, ServerPair(folder / "server.crt", folder / "server.key"))


@contextlib.contextmanager
def open_ground(folder: Path, *, orthanc: bool = False) -> Iterator[dict[str, Twin]]:
    """Both twins running."""
    with running_twins(make_stock(folder), orthanc=orthanc) as twins:
        yield twins
