"""What pynetdicom proposes beside contexts, over TLS to a real front: windows, identities, related classes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop
from pynetdicom import AE
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SOPClassCommonExtendedNegotiation,
    UserIdentityNegotiation,
)

from helpers.front_house import CT, EXPLICIT_LE, front_house, make_template

VERIFICATION = "1.2.840.10008.1.1"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


def identity(kind: int, *, asked: bool) -> UserIdentityNegotiation:
    item = UserIdentityNegotiation()
    item.user_identity_type, item.positive_response_requested = kind, asked
    item.primary_field = b"wu"
    if kind == 2:
        item.secondary_field = b"a long pass phrase"
    return item


def associate(address, context, *items):
    """`(established, the answered items by class name, accepted abstract syntaxes)`."""
    ae = AE(ae_title="CT1")
    ae.add_requested_context(VERIFICATION, EXPLICIT_LE)
    ae.add_requested_context(CT, EXPLICIT_LE)
    association = ae.associate(
        *address, ae_title="RIBCAGE", ext_neg=list(items), tls_args=(context, "localhost")
    )  # fmt: skip
    answered = {type(each).__name__: each for each in association.acceptor.user_information}
    accepted = [str(each.abstract_syntax) for each in association.accepted_contexts]
    established, rejected = association.is_established, association.is_rejected
    if established:
        assert association.send_c_echo().Status == 0
        association.release()
    assert established != rejected
    return established, answered, accepted


def test_no_identity_grants_and_only_a_name_is_confirmed(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["query"])
            for kind in (1, 2, 3, 4, 5):
                for asked in (False, True):
                    got = await asyncio.to_thread(
                        associate, house.address, context, identity(kind, asked=asked)
                    )
                    established, answered, accepted = got
                    assert established == (not asked or kind in (1, 2)), (kind, asked)
                    assert ("UserIdentityNegotiation" in answered) == (asked and kind == 1)
                    assert CT not in accepted  # it may not store, whoever stands before it
            assert "long pass phrase" not in await house.events()

    uvloop.run(main())


def test_a_window_is_one_and_related_classes_are_read_and_not_answered(
    template: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            context = await house.device("ct1", "CT1", ["store"])
            window = AsynchronousOperationsWindowNegotiation()
            window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 8
            common = SOPClassCommonExtendedNegotiation()
            common.sop_class_uid, common.service_class_uid = "1.2.3.4", "1.2.840.10008.4.2"
            common.related_general_sop_class_identification = [CT]
            got = await asyncio.to_thread(associate, house.address, context, window, common)
            established, answered, accepted = got
            assert established
            assert CT in accepted
            told = answered["AsynchronousOperationsWindowNegotiation"]
            assert (told.maximum_number_operations_invoked, told.maximum_number_operations_performed) == (
                1,
                1,
            )
            assert "SOPClassCommonExtendedNegotiation" not in answered

    uvloop.run(main())
