"""Over real sockets: our requestor and acceptor against each other and against pynetdicom."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation, UserIdentityNegotiation

from helpers.raw_scp import acceptor
from helpers.raw_scu import AssociationFailed, RawAssociation, echo, store
from ribcage.dicom import dimse
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.pdu_items import RoleSelection, UserIdentity
from ribcage.dicom.sop_classes import STUDY_ROOT_FIND, VERIFICATION
from ribcage.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

CT = "1.2.840.10008.5.1.4.1.1.2"
JPEG = "1.2.840.10008.1.2.4.50"


def data_set(pixels: bytes = b"") -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CT, "1.2.3.4"
    ds.PatientID = "P1"
    if pixels:
        ds.add_new(0x7FE00010, "OW", pixels)
    return ds


def encoded(ds: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, ds)
    return buffer.getvalue()


@pytest.fixture
def their_acceptor() -> Iterator[tuple[tuple[str, int], list[tuple[str, bytes]]]]:
    stored: list[tuple[str, bytes]] = []

    def keep(event: evt.Event) -> int:
        stored.append((event.context.transfer_syntax, event.request.DataSet.getvalue()))
        return 0xB007

    ae = AE("THEIRS")
    ae.add_supported_context(VERIFICATION)
    ae.add_supported_context(CT, [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, JPEG])
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    yield server.server_address, stored
    server.shutdown()


def test_our_requestor_echoes_and_stores_at_pynetdicom(their_acceptor):
    address, stored = their_acceptor
    raw = encoded(data_set(os.urandom(100_000)))
    proposals = [
        (VERIFICATION, [IMPLICIT_VR_LITTLE_ENDIAN]),
        (CT, [EXPLICIT_VR_LITTLE_ENDIAN]),
        (CT, [JPEG]),
        ("1.2.9", ["1.2"]),
    ]
    with RawAssociation(address, proposals, called="THEIRS") as association:
        assert association.echo() == 0
        assert association.store(CT, "1.2.3.4", raw, EXPLICIT_VR_LITTLE_ENDIAN) == 0xB007
        assert association.store(CT, "1.2.3.4", b"any bytes at all", JPEG) == 0xB007
        assert [result.result for result in association.answer.results] == [0, 0, 0, 3]
    assert stored == [(EXPLICIT_VR_LITTLE_ENDIAN, raw), (JPEG, b"any bytes at all")]


def test_pynetdicom_echoes_and_stores_at_our_acceptor_bit_for_bit():
    ds = data_set(os.urandom(700_001) + b"\0")
    ae = AE("THEIRS")
    ae.maximum_pdu_size = 0
    ae.add_requested_context(VERIFICATION)
    ae.add_requested_context(CT, [EXPLICIT_VR_LITTLE_ENDIAN])
    ae.add_requested_context(STUDY_ROOT_FIND)
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field, identity.secondary_field = 2, b"user", b"code"
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = UID(CT), True, True
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT_VR_LITTLE_ENDIAN
    with acceptor() as received:
        association = ae.associate(*received.address, ext_neg=[identity, role], ae_title="RIBCAGE")
        assert association.is_established
        assert association.send_c_echo().Status == 0
        assert association.send_c_store(ds).Status == 0
        assert [context.abstract_syntax for context in association.rejected_contexts] == [STUDY_ROOT_FIND]
        association.release()
        assert association.is_released
    ((request, syntax, raw),) = received.stored
    assert (request.sop_class, request.sop_instance, syntax) == (CT, "1.2.3.4", EXPLICIT_VR_LITTLE_ENDIAN)
    assert raw == encoded(ds)
    (asked,) = received.requests
    assert (asked.called_ae_title, asked.calling_ae_title) == ("RIBCAGE", "THEIRS")
    assert asked.user.identity == UserIdentity(2, False, b"user", b"code")
    assert asked.user.roles == (RoleSelection(CT, True, True),)


def test_a_requestor_with_the_smallest_pdu_size_is_served():
    ae = AE("THEIRS")
    ae.maximum_pdu_size = 1024
    ae.add_requested_context(VERIFICATION)
    with acceptor(limits=UpperLayerLimits(max_pdu_bytes=1024)) as received:
        association = ae.associate(*received.address)
        assert association.send_c_echo().Status == 0
        association.release()


def test_one_call_forms_against_our_acceptor():
    with acceptor(associations=2, status=0xA700) as received:
        assert echo(received.address, None, "ME", "YOU") == 0xA700
        assert store(received.address, None, "ME", "YOU", CT, "1.2.3", JPEG, b"not a data set") == 0xA700
    assert received.stored == [(dimse.CStoreRq(1, CT, "1.2.3"), JPEG, b"not a data set")]


def test_a_data_set_beyond_the_limit_ends_the_association_of_a_real_peer():
    with (
        acceptor(limits=UpperLayerLimits(max_data_set_bytes=1_000)) as received,
        pytest.raises((AssociationFailed, ConnectionError)),
    ):
        store(received.address, None, "ME", "YOU", CT, "1.2.3", JPEG, bytes(2_000_000))
    assert received.stored == []


@pytest.mark.peers
def test_dcmtk_echoes_and_stores_at_our_acceptor_bit_for_bit(tmp_path):
    if not Path("/usr/bin/storescu").exists():
        pytest.skip("DCMTK is not installed")
    ds = data_set(os.urandom(700_000))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT_VR_LITTLE_ENDIAN
    ds.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    environment = {**os.environ, "TCP_NODELAY": "1"}
    with acceptor(associations=2) as received:
        where = [str(part) for part in received.address]
        subprocess.run(["/usr/bin/echoscu", *where], check=True, timeout=20, env=environment)
        command = ["/usr/bin/storescu", "-xe", "-pdu", "131072", *where, str(tmp_path / "ct.dcm")]
        subprocess.run(command, check=True, timeout=20, env=environment)
    ((_, syntax, raw),) = received.stored
    assert syntax == EXPLICIT_VR_LITTLE_ENDIAN
    assert raw == encoded(ds)
