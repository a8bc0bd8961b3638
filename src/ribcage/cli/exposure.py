"""The exposure self-check of `ribcage serve`: at its start and on a schedule, told to the guard.

Rules, in order:
1. Facts come from `/proc` and from one bounded question to each port of DICOM on this machine: an A-ASSOCIATE-RQ in
   plain, of whose answer ten bytes are read. Nothing else is sent anywhere.
2. Looking happens in a thread; what it finds goes to the guard, which enters it and sounds the alarm.
3. A look that fails is tried again at the next turn, and stops nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Collection
from pathlib import Path

from ribcage.cli import machine_facts
from ribcage.cli.settings import Settings
from ribcage.dicom import pdu
from ribcage.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from ribcage.dicom.pdu_items import ProposedContext, UserInformation
from ribcage.dicom.sop_classes import VERIFICATION
from ribcage.dicom.transfer_syntaxes import LITTLE_ENDIAN
from ribcage.guard.client import GuardClient
from ribcage.guard.errors import GuardError
from ribcage.guard.place import socket_path
from ribcage.guard.protocol import ExposureItem, Noted, ReportExposure
from ribcage.oversight.doctor.exposure import DICOM_PORTS, ExposureFacts, Listening, alarming

_PROBE_SECONDS = 2.0
_ASK_SECONDS = 30.0
_RETRY_SECONDS = 60.0
_ANSWER_BYTES = 10
_ANSWERS = (pdu.PduType.ASSOCIATE_AC, pdu.PduType.ASSOCIATE_RJ, pdu.PduType.ABORT)
_log = logging.getLogger(__name__)


def facts(wanted: Settings, own: Collection[int]) -> ExposureFacts:
    """What listens on this machine now; `own`: our ports. Blocking for at most two seconds a port of DICOM."""
    pacs = wanted.shield.pacs_port if wanted.shield.pacs_address else 0
    heard = machine_facts.listeners_on({*DICOM_PORTS, *own, pacs})
    sockets = []
    for each in heard:
        ours = each.port in own
        plain = not ours and each.port != pacs and each.port in DICOM_PORTS
        sockets.append(
            Listening(
                each.address,
                each.port,
                each.program,
                ours,
                plain and speaks_plain_dicom(each.address, each.port),
            )
        )
    return ExposureFacts(tuple(sockets), machine_facts.own_addresses(), frozenset(wanted.listen.public), pacs)


def speaks_plain_dicom(address: str, port: int) -> bool:
    """Whether a listener of this machine answers an association in plain (rule 1)."""
    parsed = ipaddress.ip_address(address)
    here = ("::1" if parsed.version == 6 else "127.0.0.1") if parsed.is_unspecified else address
    user = UserInformation(16384, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME)
    request = pdu.AssociateRq("ANY-SCP", "RIBCAGE", (ProposedContext(1, VERIFICATION, LITTLE_ENDIAN),), user)
    try:
        with socket.create_connection((here, port), _PROBE_SECONDS) as link:
            link.settimeout(_PROBE_SECONDS)
            link.sendall(pdu.encode(request))
            answer = link.recv(_ANSWER_BYTES)
    except OSError:
        return False
    return len(answer) >= 2 and answer[0] in _ANSWERS and answer[1] == 0


async def watch(home: Path, wanted: Settings) -> None:
    """Look and tell, until cancelled."""
    own = [each.port for each in wanted.addresses() if each.port]
    while True:
        wait = float(wanted.exposure_check_seconds)
        try:
            found = alarming(await asyncio.to_thread(facts, wanted, own))
            await _tell(home, [ExposureItem(each.what, each.scope, each.port) for each in found])
        except (GuardError, OSError, TimeoutError, ValueError) as failure:
            _log.warning("the exposure check failed: %s", type(failure).__name__)
            wait = min(wait, _RETRY_SECONDS)
        await asyncio.sleep(wait)


async def _tell(home: Path, items: list[ExposureItem]) -> None:
    async with asyncio.timeout(_ASK_SECONDS):
        client = await GuardClient.connect(socket_path(home))
        try:
            await client.call(ReportExposure(items), Noted)
        finally:
            await client.close()
