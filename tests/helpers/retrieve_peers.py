"""pynetdicom as the foreign peer of C-GET and C-MOVE: asker and destination, over mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as STUDY_GET
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as STUDY_MOVE

from helpers.front_house import CT, EXPLICIT_LE, FrontHouse
from helpers.raw_scu import store
from ribcage.crypto.authority import Issued
from ribcage.crypto.memory import SecretFile
from ribcage.guard import protocol as p

STUDY = "1.2.826.0.1.3680043.10.2.1"
SECONDS = 20
Answer = Callable[[evt.Event], int]


@dataclass
class Got:
    """What a retrieval brought: its responses, failed UIDs, and the data sets that came."""

    statuses: list[Dataset] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    data: dict[str, bytes] = field(default_factory=dict)
    stores: list[str] = field(default_factory=list)
    originators: set[tuple[str, int]] = field(default_factory=set)

    @property
    def status(self) -> int:
        return int(self.statuses[-1].Status)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Completed, failed, warning of the last response."""
        last = self.statuses[-1]
        return (
            int(last.NumberOfCompletedSuboperations),
            int(last.NumberOfFailedSuboperations),
            int(last.NumberOfWarningSuboperations),
        )

    def keep(self, event: evt.Event) -> None:
        assert event.request.DataSet is not None
        uid = str(event.request.AffectedSOPInstanceUID)
        self.data[uid] = event.request.DataSet.getvalue()
        self.stores.append(uid)
        if event.request.MoveOriginatorApplicationEntityTitle:
            originator = str(event.request.MoveOriginatorApplicationEntityTitle)
            self.originators.add((originator, int(event.request.MoveOriginatorMessageID)))

    def note(self, status: Dataset, last: Dataset | None) -> None:
        self.statuses.append(status)
        if last is not None:
            uids = last.get("FailedSOPInstanceUIDList") or []
            self.failed = [uids] if isinstance(uids, str) else list(uids)


def identifier(level: str = "STUDY", **keys: object) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def study() -> Dataset:
    return identifier(StudyInstanceUID=STUDY)


def c_get(
    address: tuple[str, int],
    context: ssl.SSLContext,
    wanted: Dataset,
    *,
    syntaxes: tuple[str, ...] = (EXPLICIT_LE,),
    calling: str = "WS1",
    answer: Answer = lambda event: 0,
    model: str = STUDY_GET,
    cancel_after: int = 0,
    sop_class: str = CT,
) -> Got:
    """One C-GET: takes what comes and answers each C-STORE with `answer`."""
    got = Got()

    def keep(event: evt.Event) -> int:
        got.keep(event)
        if len(got.stores) == cancel_after:
            event.assoc.send_c_cancel(7, query_model=model)
        return answer(event)

    ae = AE(calling)
    ae.add_requested_context(model)
    for syntax in syntaxes:
        ae.add_requested_context(sop_class, syntax)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = SECONDS
    assoc = ae.associate(
        *address,
        ae_title="RIBCAGE",
        ext_neg=[build_role(sop_class, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, keep)],
        tls_args=(context, "localhost"),
    )
    if not assoc.is_established:
        raise ConnectionError("no association")
    try:
        for status, last in assoc.send_c_get(wanted, model, msg_id=7):
            got.note(status, last)
    finally:
        assoc.release()
    return got


def c_move(
    address: tuple[str, int],
    context: ssl.SSLContext,
    wanted: Dataset,
    to: str,
    *,
    calling: str = "WS1",
    model: str = STUDY_MOVE,
) -> Got:
    """One C-MOVE; what the destination got is its own."""
    got = Got()
    ae = AE(calling)
    ae.add_requested_context(model)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = SECONDS
    assoc = ae.associate(*address, ae_title="RIBCAGE", tls_args=(context, "localhost"))
    if not assoc.is_established:
        raise ConnectionError("no association")
    try:
        for status, last in assoc.send_c_move(wanted, to, model, msg_id=9):
            got.note(status, last)
    finally:
        assoc.release()
    return got


@contextlib.contextmanager
def destination(
    title: str,
    leaf: Issued,
    trusted_pem: bytes,
    *,
    syntaxes: tuple[str, ...] = (EXPLICIT_LE,),
    answer: Answer = lambda event: 0,
    port: int = 0,
) -> Iterator[tuple[Got, int]]:
    """A storage SCP over TLS that demands the archive's certificate: what it got, and its port."""
    got = Got()

    def keep(event: evt.Event) -> int:
        got.keep(event)
        return answer(event)

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    tls.load_verify_locations(cadata=trusted_pem.decode())
    with SecretFile(leaf.certificate_pem + b"\n" + leaf.private_key_pem) as secret:
        tls.load_cert_chain(secret.path)
    ae = AE(title)
    ae.require_called_aet = True
    ae.add_supported_context(CT, list(syntaxes))
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = SECONDS
    server = ae.start_server(
        ("127.0.0.1", port), block=False, ssl_context=tls, evt_handlers=[(evt.EVT_C_STORE, keep)]
    )
    assert server is not None
    try:
        yield got, server.socket.getsockname()[1]
    finally:
        server.shutdown()


async def workstation(house: FrontHouse, *may: str) -> ssl.SSLContext:
    """WS1, which may see the department's studies."""
    context = await house.device("ws1", "WS1", list(may or ("query", "retrieve")))
    await granted(house, "ws1")
    return context


async def granted(house: FrontHouse, name: str) -> int:
    """A grant of the full view to this device; its number."""
    grant = p.AddGrant(subject=f"device:{name}", resource="department:radiology", view="full")
    return (await house.house.admin.call(grant, p.GrantAdded)).grant_id


async def filled(house: FrontHouse, slices: list[tuple[str, bytes]]) -> dict[str, bytes]:
    """Store these slices; data sets by UID."""
    return await stored(house, await house.device("ct1", "CT1", ["store"]), slices)


async def stored(
    house: FrontHouse, context: ssl.SSLContext, slices: list[tuple[str, bytes]], calling: str = "CT1"
) -> dict[str, bytes]:
    """As `filled`, by a modality that is registered already."""
    for uid, data in slices:
        words = (house.address, context, calling, "RIBCAGE", CT, uid, EXPLICIT_LE, data)
        assert await asyncio.to_thread(store, *words) == 0
    return dict(slices)
