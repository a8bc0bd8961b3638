"""Attacks on the way from an edge: by who stole its credential, its disk or another edge, and by a front.

Each plays against a fresh home and tells whether it succeeded.
"""

from __future__ import annotations

from pathlib import Path

from attacks.guard_attacks import answered
from helpers.edge_entries import MODALITY, bring, enrolled
from helpers.guard_house import House, attributes
from ribcage.crypto import hybrid
from ribcage.crypto.signing import Signer
from ribcage.evidence.edge_entry import EntryContext
from ribcage.guard import protocol as p
from ribcage.oversight.drill.attackers.search import Search
from ribcage.oversight.studies import make_study
from ribcage.transfer.edge.limits import EdgeLimits
from ribcage.transfer.edge.spool import Spool, SpoolKeys
from system.senders import instance_of

_THIEF = Signer(bytes(range(32)))


async def forged_entry(house: House) -> bool:
    """Whoever stole the TLS credential, and not the signing key, brings a film of their own."""
    edge = await enrolled(house)
    forged = edge.front(1, signer=_THIEF)
    return await answered(house.front.ask(p.OpenEdgeEntry(edge.credential, forged)), p.EdgeEntryOpened)


async def entry_of_another_edge(house: House) -> bool:
    """One edge brings what another one signed, with its own credential."""
    edge, other = await enrolled(house), await enrolled(house, "edge-2")
    stolen = other.front(1)
    return await answered(house.front.ask(p.OpenEdgeEntry(edge.credential, stolen)), p.EdgeEntryOpened)


async def replayed_entry(house: House) -> bool:
    """A copy of a film that was taken is brought again, after the next one."""
    edge = await enrolled(house)
    first = edge.front(1, b"first")
    await bring(house, edge, 1, 1, b"another")  # the first number is used up
    await bring(house, edge, 2, 2, b"second")
    return await answered(house.front.ask(p.OpenEdgeEntry(edge.credential, first)), p.EdgeEntryOpened)


async def reordered_entry(house: House) -> bool:
    """A film is brought before the one that was taken before it."""
    edge = await enrolled(house)
    return await answered(house.front.ask(p.OpenEdgeEntry(edge.credential, edge.front(2))), p.EdgeEntryOpened)


async def front_speaks_for_the_modality(house: House) -> bool:
    """A front invents a film in the name of a modality whose film it has just opened."""
    edge = await enrolled(house)
    asked = p.OpenEdgeEntry(edge.credential, edge.front(1, b"film"))
    opened = await house.front.call(asked, p.EdgeEntryOpened)
    return await answered(house.store(opened.device, attributes(1), b"invented"), p.Committed)


async def receipt_without_the_film(house: House) -> bool:
    """A front has a receipt signed for a film that it threw away."""
    edge = await enrolled(house)
    front = edge.front(1)
    await house.front.call(p.OpenEdgeEntry(edge.credential, front), p.EdgeEntryOpened)
    over = p.EdgeEntryOver(edge.credential, front, attributes(1).sop_instance_uid)
    return await answered(house.front.ask(over), p.EdgeAnswer)


async def stolen_edge_credential(house: House) -> bool:
    """It lists, reads or stores by another way, though an operator granted it everything by mistake."""
    edge = await enrolled(house)
    await bring(house, edge, 1)
    grant = p.AddGrant(subject="device:edge-1", resource="department:radiology", view="full")
    await house.admin.call(grant, p.GrantAdded)
    thief, study = edge.credential, attributes(1).study_instance_uid
    admit = p.Admit(
        principal=thief,
        channel="dicomweb",
        called_ae_title="",
        attributes=attributes(2),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        data_set_sha256=bytes(32),
        data_set_bytes=4,
    )
    tries = (
        (p.Query(thief, "dicomweb", "study", {}), p.QueryAnswer),
        (p.Disclose(principal=thief, channel="dicomweb", study_instance_uid=study, want="best"), p.Disclosed),
        (admit, p.Admitted),
    )
    return any([await answered(house.front.ask(asked), kind) for asked, kind in tries])


def stolen_spool(folder: Path) -> bool:
    """The edge's disk, with a film that waits, is searched for its patient, its UIDs and its modality."""
    archive, home = hybrid.HybridPrivate(hybrid.new_seed()), folder / "edge"
    for name in ("spool", "refused"):
        (home / name).mkdir(parents=True)
    keys = SpoolKeys(bytes(16), bytes(16), archive.public_key, _THIEF, bytes(32))
    spool = Spool(home, keys, EdgeLimits(min_free_bytes=1))
    study = make_study(31, 1)
    one = instance_of(study.file)
    context = EntryContext(MODALITY, "EDGEROOM17", "127.0.0.1", one.sop_class, one.uid, one.transfer_syntax)
    entry = spool.begin(bytes(16), context)
    entry.add(memoryview(one.data_set))
    entry.finish()
    spool.close()
    search = Search([(*study.identity.needles(), one.uid, one.study), (MODALITY,)])
    search.feed_folder(home)
    return bool(search.found)
